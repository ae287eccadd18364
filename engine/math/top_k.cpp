#include "engine/math/top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Bits is the unsigned integer of the width of Real.
template <class Bits, class Real>
std::vector<std::int64_t> largest(std::span<const Real> values, std::int64_t k) {
  const auto n = static_cast<std::int64_t>(values.size());
  k = std::clamp<std::int64_t>(k, 0, n);
  // Magnitudes order like the bits of |x|: one integer key holds (magnitude, lower index first).
  std::vector<Bits> magnitude(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    magnitude[i] = std::bit_cast<Bits>(values[i]) & (~Bits{0} >> 1);
  }
  if (k == 0) return {};
  std::vector<Bits> ordered = magnitude;
  std::nth_element(ordered.begin(), ordered.begin() + (k - 1), ordered.end(), std::greater<>());
  const Bits threshold = ordered[static_cast<std::size_t>(k - 1)];
  std::int64_t above = 0;
  for (const Bits m : magnitude) above += m > threshold;
  std::int64_t ties = k - above;
  std::vector<std::int64_t> result;
  result.reserve(static_cast<std::size_t>(k));
  for (std::int64_t i = 0; i < n; ++i) {
    const Bits m = magnitude[static_cast<std::size_t>(i)];
    if (m > threshold || (m == threshold && ties-- > 0)) result.push_back(i);
  }
  return result;
}

}  // namespace

std::int64_t count_of(std::int64_t n, double fraction, CountRule rule, std::int64_t minimum) {
  const double exact = static_cast<double>(n) * fraction;
  // 0.1 * 30 is 3.0000000000000004: a count within 1e-9 of a whole number is that number.
  const double whole = std::nearbyint(exact);
  double count = std::abs(exact - whole) < 1e-9 * std::max(1.0, exact) ? whole
                 : rule == CountRule::floor                            ? std::floor(exact)
                 : rule == CountRule::ceil                             ? std::ceil(exact)
                                                                       : whole;
  return std::clamp(static_cast<std::int64_t>(count), std::min(minimum, n), n);
}

std::vector<std::int64_t> top_k(std::span<const float> values, std::int64_t k) {
  return largest<std::uint32_t>(values, k);
}
std::vector<std::int64_t> top_k(std::span<const double> values, std::int64_t k) {
  return largest<std::uint64_t>(values, k);
}

double percentile(std::vector<double> values, double p) {
  require(!values.empty() && 0 <= p && p <= 1, "percentile of something");
  std::sort(values.begin(), values.end());
  const double position = static_cast<double>(values.size() - 1) * p;
  const auto low = static_cast<std::size_t>(position);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
}

}  // namespace laconic
