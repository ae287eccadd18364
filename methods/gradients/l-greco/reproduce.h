// The claims of card 12 at small scale.
#pragma once

#include "methods/reproduce.h"

namespace laconic::l_greco {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::l_greco
