#include "engine/math/extremes.h"

#include <algorithm>
#include <numeric>

namespace laconic {

std::vector<std::int64_t> extreme_entries(std::span<const float> values, std::int64_t k) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto at = [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; };
  const auto above = [&](std::int64_t a, std::int64_t b) { return at(a) != at(b) ? at(a) > at(b) : a < b; };
  const auto below = [&](std::int64_t a, std::int64_t b) { return at(a) != at(b) ? at(a) < at(b) : a < b; };
  const std::int64_t high = std::clamp<std::int64_t>(k, 0, n), low = std::min(high, n - high);
  if (high < n) std::nth_element(order.begin(), order.begin() + high, order.end(), above);
  if (high + low < n) std::nth_element(order.begin() + high, order.begin() + high + low, order.end(), below);
  order.resize(static_cast<std::size_t>(high + low));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace laconic
