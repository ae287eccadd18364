// Whether bytes are records of a fixed length.
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace laconic {

inline constexpr std::uint32_t mixing_longest_period = 255;

// The length whose records look most alike: the bytes that equal the one a period before, counted over the
// first 64 KB, stand out from those of other lengths. 0 where none does.
std::uint32_t likely_period(ByteSpan bytes);

}  // namespace laconic
