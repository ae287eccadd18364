// The two passes of QSGD over a block.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

// In f64.
double sum_of_squares(std::span<const float> values);

// Codes levels + sign(z) l of `bits` bits, packed as pack_bits does from the first bit of `packed`:
// l = floor(x) + (u < x - floor(x)), x = |z| levels / scale, at most levels = 2^(bits-1) - 1. scale > 0.
// u = (draw + 1/2) 2^-16 with 16 bits a number, draws[i]: the mean is x up to 2^-17.
void qsgd_encode(std::span<const float> values, std::span<const std::uint16_t> draws, float scale, int bits,
                 std::span<std::uint8_t> packed);

// to[i] += scale ((codes[i] - levels) / levels), in f32 and in this order: the same bits on every machine.
void qsgd_add(std::span<const std::uint8_t> codes, float scale, int levels, std::span<float> to);

}  // namespace laconic
