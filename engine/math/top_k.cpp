#include "engine/math/top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "engine/base/error.h"
#include "engine/math/magnitude_scan.h"

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

// Few of many: a threshold that a sample suggests, one pass for what reaches it, and an exact selection among
// those. Nothing when the sample misled in both directions.
std::optional<std::vector<std::int64_t>> few_of_many(std::span<const float> values, std::int64_t k) {
  constexpr std::size_t samples = 8192;
  const std::size_t stride = values.size() / samples;
  std::vector<std::uint32_t> sample(samples);
  for (std::size_t i = 0; i < samples; ++i) {
    // Off the grid, so that a periodic tensor (rows of a matrix) is not read at one column.
    const std::size_t at = i * stride + (i * 2654435761u >> 7) % stride;
    sample[i] = std::bit_cast<std::uint32_t>(values[at]) & 0x7FFFFFFFu;
  }
  const double expected = static_cast<double>(k) / static_cast<double>(values.size()) * samples;
  std::vector<std::uint32_t> found;
  for (double margin = 4; margin <= 64; margin *= 4) {
    const auto rank = static_cast<std::size_t>(expected + margin * std::sqrt(expected) + margin);
    if (rank >= samples / 2) return std::nullopt;
    const auto place = sample.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(sample.begin(), place, sample.end(), std::greater<>());
    if (!magnitudes_at_least(values, *place, values.size() / 4, found)) return std::nullopt;
    if (static_cast<std::int64_t>(found.size()) < k) continue;
    const auto before = [&](std::uint32_t a, std::uint32_t b) {
      const std::uint32_t left = std::bit_cast<std::uint32_t>(values[a]) & 0x7FFFFFFFu;
      const std::uint32_t right = std::bit_cast<std::uint32_t>(values[b]) & 0x7FFFFFFFu;
      return left != right ? left > right : a < b;
    };
    std::nth_element(found.begin(), found.begin() + (k - 1), found.end(), before);
    std::sort(found.begin(), found.begin() + k);
    return std::vector<std::int64_t>(found.begin(), found.begin() + k);
  }
  return std::nullopt;
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
  const auto n = static_cast<std::int64_t>(values.size());
  if (k > 0 && n >= 65536 && n < std::int64_t{1} << 32 && k <= n / 16) {
    if (auto few = few_of_many(values, k)) return std::move(*few);
  }
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
