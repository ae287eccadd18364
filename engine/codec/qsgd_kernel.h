// The two passes of QSGD over a block.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

// In f64.
double sum_of_squares(std::span<const float> values);

// codes[i] = levels + sign(z) l, l = floor(x) + (u < x - floor(x)), x = levels |z| / scale, at most `levels`;
// u = the upper 24 bits of words[i], in [0, 1). scale > 0.
void qsgd_codes(std::span<const float> values, std::span<const std::uint32_t> words, float scale, int levels,
                std::span<std::uint8_t> codes);

}  // namespace laconic
