// One pass over many numbers for the few whose magnitude reaches a threshold.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// Positions, ascending, of the numbers whose |x| as bits (the sign cleared) is at least `threshold`: bits
// order as magnitudes do, NaN above all. Fewer than 2^32 numbers. False as soon as there are more than
// `most`.
bool magnitudes_at_least(std::span<const float> values, std::uint32_t threshold, std::size_t most,
                         std::vector<std::uint32_t>& positions);

}  // namespace laconic
