// The claims of card 02 at small scale: 1-bit Adam against Adam, against the naive way (signs of gradients
// into a live Adam), without its errors, and with too short a warm-up; bytes as they were sent; what a slow
// link makes of it.
#pragma once

#include "methods/reproduce.h"

namespace laconic::onebit_adam {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::onebit_adam
