#include "engine/coding/mixing_period.h"

#include <algorithm>
#include <array>

namespace laconic {

std::uint32_t likely_period(ByteSpan bytes) {
  const ByteSpan sample = bytes.first(std::min<std::size_t>(bytes.size(), 65536));
  if (sample.size() < 64) return 0;
  const auto longest = static_cast<std::uint32_t>(std::min<std::size_t>(mixing_longest_period, sample.size() / 8));
  std::array<std::size_t, mixing_longest_period + 1> equal{};
  std::size_t all = 0, most = 0;
  for (std::uint32_t period = 1; period <= longest; ++period) {
    for (std::size_t i = longest; i < sample.size(); ++i) equal[period] += sample[i] == sample[i - period];
    all += equal[period];
    if (period > 1) most = std::max(most, equal[period]);
  }
  const std::size_t mean = all / longest;
  // Multiples of a period look alike too: the first length that comes near the best.
  if (most < mean + mean / 4 + sample.size() / 50) return 0;
  for (std::uint32_t period = 2; period <= longest; ++period) {
    if (equal[period] >= mean + (most - mean) * 4 / 5) return period;
  }
  return 0;
}

}  // namespace laconic
