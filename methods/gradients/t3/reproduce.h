// The claims of card 58: overlap measured on this machine beside its model, and the paper's figures by
// simulation.
#pragma once

#include "methods/reproduce.h"

namespace laconic::t3 {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::t3
