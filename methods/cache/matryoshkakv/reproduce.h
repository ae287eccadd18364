// The claims of MatryoshkaKV at small scale (card 62): trained bases against PCA, searched ranks against the
// same rank everywhere, one base for all ranks, and how much text training needs.
#pragma once

#include "methods/reproduce.h"

namespace laconic::matryoshkakv {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::matryoshkakv
