// The claims of card 30: schedules by simulation with published sizes, and real training on four ranks.
#pragma once

#include "methods/reproduce.h"

namespace laconic::bytescale {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::bytescale
