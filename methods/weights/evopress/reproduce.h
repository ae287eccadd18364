// The claims of card 23 at small scale.
#pragma once

#include "methods/reproduce.h"

namespace laconic::evopress {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::evopress
