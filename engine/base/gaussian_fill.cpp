#include "engine/base/gaussian_fill.h"

#include <algorithm>

#include "engine/base/random.h"

namespace laconic {

void fill_gaussian(std::uint64_t key, std::uint64_t step, std::uint16_t peer, std::span<float> values) {
  const PhiloxKey words = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  for (std::size_t first = 0; first < values.size(); first += 4) {
    const std::uint64_t block = first / 4;
    const PhiloxCounter draws =
        philox4x32_10({static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32),
                       static_cast<std::uint32_t>(peer) | static_cast<std::uint32_t>(block << 16),
                       static_cast<std::uint32_t>(block >> 16)},
                      words);
    const std::size_t count = std::min<std::size_t>(4, values.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      values[first + i] =
          static_cast<float>(normal_quantile((static_cast<double>(draws[i]) + 0.5) * 0x1p-32));
    }
  }
}

}  // namespace laconic
