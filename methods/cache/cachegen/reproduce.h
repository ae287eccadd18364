// The claims of card 31 (CacheGen) at small scale.
#pragma once

#include "methods/reproduce.h"

namespace laconic::cachegen {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::cachegen
