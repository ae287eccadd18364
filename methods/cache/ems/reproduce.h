// The small-scale reproduction of card 41.
#pragma once

#include "methods/reproduce.h"

namespace laconic::ems {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::ems
