// Whether numbers are numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <ranges>

namespace laconic {

// True when no value is NaN or infinite.
bool all_finite(const std::ranges::input_range auto& values) {
  return std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(value); });
}

}  // namespace laconic
