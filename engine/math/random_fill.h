// Many draws of a counter-based stream at once, by vectors; the same values as RandomStream gives one by one.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/random.h"

namespace laconic {

// words[i] = random.bits_at(first + i); `first` is a multiple of 4.
void random_bits(const RandomStream& random, std::uint64_t first, std::span<std::uint32_t> words);
// values[i] = random.gaussian_at(i).
void random_gaussians(const RandomStream& random, std::span<float> values);

}  // namespace laconic
