#include "engine/math/top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Bits is the unsigned integer of the width of Real. Magnitudes order like the bits of |x|.
template <class Bits, class Real>
Bits magnitude_of(Real value) {
  return std::bit_cast<Bits>(value) & (~Bits{0} >> 1);
}

template <class Bits, class Real>
void largest(std::span<const Real> values, std::int64_t k, std::vector<Bits>& ordered,
             std::vector<std::int64_t>& result) {
  const auto n = static_cast<std::int64_t>(values.size());
  k = std::clamp<std::int64_t>(k, 0, n);
  result.clear();
  if (k == 0) return;
  if (k == 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < values.size(); ++i) {
      if (magnitude_of<Bits>(values[i]) > magnitude_of<Bits>(values[best])) best = i;
    }
    result.push_back(static_cast<std::int64_t>(best));
    return;
  }
  ordered.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) ordered[i] = magnitude_of<Bits>(values[i]);
  std::nth_element(ordered.begin(), ordered.begin() + (k - 1), ordered.end(), std::greater<>());
  const Bits threshold = ordered[static_cast<std::size_t>(k - 1)];
  // Everything before the k-th is at least as large: what is larger lies there.
  std::int64_t ties = k - std::count_if(ordered.begin(), ordered.begin() + (k - 1),
                                        [&](Bits magnitude) { return magnitude > threshold; });
  result.reserve(static_cast<std::size_t>(k));
  for (std::int64_t i = 0; i < n; ++i) {
    const Bits magnitude = magnitude_of<Bits>(values[static_cast<std::size_t>(i)]);
    if (magnitude > threshold || (magnitude == threshold && ties-- > 0)) result.push_back(i);
  }
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
  std::vector<std::uint32_t> ordered;
  std::vector<std::int64_t> positions;
  largest(values, k, ordered, positions);
  return positions;
}
std::vector<std::int64_t> top_k(std::span<const double> values, std::int64_t k) {
  TopKWork work;
  top_k(values, k, work);
  return std::move(work.positions);
}
std::span<const std::int64_t> top_k(std::span<const double> values, std::int64_t k, TopKWork& work) {
  largest(values, k, work.magnitudes, work.positions);
  return work.positions;
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
