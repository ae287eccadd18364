// Whether numbers are numbers.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <ranges>
#include <type_traits>

namespace laconic {

// True when no value is NaN or infinite.
bool all_finite(const std::ranges::input_range auto& values) {
  using Range = std::remove_cvref_t<decltype(values)>;
  if constexpr (std::ranges::contiguous_range<const Range> &&
                std::is_same_v<std::ranges::range_value_t<Range>, float>) {
    // Without a way out inside a run, compilers make vectors of it.
    constexpr std::size_t run = 4096;
    constexpr std::uint32_t exponent = 0x7F800000u;
    const float* data = std::ranges::data(values);
    const std::size_t size = std::ranges::size(values);
    for (std::size_t begin = 0; begin < size; begin += run) {
      const std::size_t end = std::min(size, begin + run);
      std::uint32_t found = 0;
      for (std::size_t i = begin; i < end; ++i)
        found |= (std::bit_cast<std::uint32_t>(data[i]) & exponent) == exponent ? 1u : 0u;
      if (found != 0) return false;
    }
    return true;
  } else {
    return std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(value); });
  }
}

}  // namespace laconic
