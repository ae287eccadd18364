// What gradients are encoded with, over at least 256 MiB of gradients of 25 M numbers each. Rates count the
// f32 bytes of the gradient, as memcpy does.
#pragma once

#include <vector>

#include "runtime/benchmark/kernels.h"

namespace laconic {

std::vector<PassMaker> gradient_codec_passes();

}  // namespace laconic
