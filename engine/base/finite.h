// Whether numbers are numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ranges>
#include <type_traits>

namespace laconic {

// True when no value is NaN or infinite.
bool all_finite(const std::ranges::input_range auto& values) {
  using Range = std::remove_cvref_t<decltype(values)>;
  if constexpr (std::ranges::contiguous_range<const Range> &&
                std::is_same_v<std::ranges::range_value_t<Range>, float>) {
    // Two at a time, without a way out inside a run: an exponent of ones carries into the cleared sign.
    constexpr std::size_t run = 4096;
    constexpr std::uint64_t exponents = 0x7F8000007F800000u, ones = 0x0080000000800000u;
    const float* data = std::ranges::data(values);
    const std::size_t size = std::ranges::size(values);
    for (std::size_t begin = 0; begin < size; begin += run) {
      const std::size_t end = std::min(size, begin + run);
      std::uint64_t carry0 = 0, carry1 = 0, pair0 = 0, pair1 = 0;
      std::size_t i = begin;
      for (; i + 4 <= end; i += 4) {
        std::memcpy(&pair0, data + i, 8);
        std::memcpy(&pair1, data + i + 2, 8);
        carry0 |= (pair0 & exponents) + ones;
        carry1 |= (pair1 & exponents) + ones;
      }
      if (((carry0 | carry1) & 0x8000000080000000u) != 0) return false;
      for (; i < end; ++i) {
        if (!std::isfinite(data[i])) return false;
      }
    }
    return true;
  } else {
    return std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(value); });
  }
}

}  // namespace laconic
