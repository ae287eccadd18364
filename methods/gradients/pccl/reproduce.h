// The claims of PCCL at small scale (card 57): connection pools, churn, ring order, DiLoCo in 8 bits and with
// deaths, and what is lost without parts of it.
#pragma once

#include "methods/reproduce.h"

namespace laconic::pccl {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::pccl
