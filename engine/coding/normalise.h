// Probabilities as whole numbers with a fixed sum, for entropy coders. Tables are made once by the encoder
// and stored; a decoder never makes one from real numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

enum class NormalisePolicy {
  // Default: share rounded down, at least 1 for every symbol seen; what is left goes to the largest
  // remainders
  // (ties: lower index), what is missing comes from the largest frequencies. Symbols not seen get 0.
  largest_remainder,
  // Round each share, rescale to the total, last cumulative set to the total; then every empty symbol takes
  // one from the narrowest symbol wider than 1 (ties: lower index). Every symbol gets at least 1.
  steal_smallest,
  // max(1, share rounded down); the difference to the total goes to the largest (ties: lower index).
  floor_plus_largest,
  // Cumulative i = floor((total - 1 - K) * cumulative share) + i; the one count left over goes to the last
  // symbol. Every symbol gets at least 1.
  spread,
};

// Frequencies with sum `total`, one per symbol. Error(input) when nothing was counted, a probability is
// negative or not finite, or there are more symbols than the total can hold.
std::vector<std::uint32_t> normalise(std::span<const std::uint64_t> counts, std::uint32_t total,
                                     NormalisePolicy policy = NormalisePolicy::largest_remainder);
// Probabilities whose sum is about 1.
std::vector<std::uint32_t> normalise(std::span<const double> probabilities, std::uint32_t total,
                                     NormalisePolicy policy = NormalisePolicy::largest_remainder);

}  // namespace laconic
