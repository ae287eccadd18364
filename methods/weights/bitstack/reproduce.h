// The small-scale reproduction of card 22.
#pragma once

#include "methods/reproduce.h"

namespace laconic::bitstack {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::bitstack
