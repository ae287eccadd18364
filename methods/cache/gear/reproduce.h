// The small-scale reproduction of card 21.
#pragma once

#include "methods/reproduce.h"

namespace laconic::gear {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::gear
