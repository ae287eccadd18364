// The claims of card 05: bounds and schedules by simulation, tiles and speed of the kernel by measurement.
#pragma once

#include "methods/reproduce.h"

namespace laconic::attention_io {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::attention_io
