// The claims of card 07 at small scale.
#pragma once

#include "methods/reproduce.h"

namespace laconic::dgc {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::dgc
