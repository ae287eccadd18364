// Powers of two that bring numbers into the range where f32 products neither overflow nor vanish.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace laconic {

// Scales by 2^-e so that the largest magnitude lies in [1, 2), and returns e; exact, except that numbers
// 2^-126 times smaller than the largest may lose digits. All-zero values stay as they are (e = 0).
inline int to_unit_range(std::span<float> values) {
  float largest = 0;
  for (float value : values) largest = std::max(largest, std::abs(value));
  if (largest == 0) return 0;
  const int exponent = std::ilogb(largest);
  if (exponent != 0) {
    for (float& value : values) value = std::ldexp(value, -exponent);
  }
  return exponent;
}

}  // namespace laconic
