// What the kernel and its scalar ends share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/coding/sign_bits.h"

namespace laconic {

constexpr std::size_t sign_lanes = 16;

// Each does the first numbers, a multiple of 16, and returns how many. `addend` and `total` are null where
// nothing is added. Sums go on in lanes[16].
std::size_t pack_signs_vector(const float* values, const float* addend, float* total, std::size_t count,
                              SignSum kind, std::uint8_t* bits, double* lanes);
std::size_t unpack_signs_vector(const std::uint8_t* bits, float scale, std::size_t count, float* values);
std::size_t add_signs_vector(const std::uint8_t* bits, float scale, std::size_t count, float* values);

}  // namespace laconic
