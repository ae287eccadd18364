// Exact selection and the rules that turn fractions into counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

enum class CountRule { floor, ceil, nearest };
// count = rule(n * fraction), at least `minimum` and at most n; nearest is ties to even.
std::int64_t count_of(std::int64_t n, double fraction, CountRule rule = CountRule::nearest,
                      std::int64_t minimum = 1);

// Indices of the k entries of largest |x|, ascending; exactly k; ties go to the lower index; a NaN counts as
// larger than every number (encoders refuse it before). Linear time.
std::vector<std::int64_t> top_k(std::span<const float> values, std::int64_t k);
std::vector<std::int64_t> top_k(std::span<const double> values, std::int64_t k);

// Memory that loops keep between calls: after the first one of a size nothing is allocated.
struct TopKWork {
  std::vector<std::uint64_t> magnitudes;
  std::vector<std::int64_t> positions;
};
// The same positions, in work.positions.
std::span<const std::int64_t> top_k(std::span<const double> values, std::int64_t k, TopKWork& work);

// Linear interpolation between order statistics at position (n - 1) p; values need not be sorted.
double percentile(std::vector<double> values, double p);

}  // namespace laconic
