// The claims of card 34 and of the tool: sizes beside general compressors on the LogHub samples, on larger
// logs and on a generated one, framing, speed, threads, random lines, search, and what each part of the
// method is worth.
#pragma once

#include "methods/reproduce.h"

namespace laconic::logzip {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::logzip
