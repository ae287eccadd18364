#include "engine/math/sampled_top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/magnitude_scan.h"
#include "engine/math/top_k.h"

namespace laconic {

SampledSelection sampled_top_k(std::span<const float> values, std::int64_t k, double ratio,
                               RandomStream random) {
  constexpr double sample_share = 0.01, least_share = 0.8;
  constexpr int adaptations = 10;
  const auto n = static_cast<std::int64_t>(values.size());
  require(n < std::int64_t{1} << 32, "positions fit 32 bits");
  require(ratio > 0 && ratio <= 1 && k >= std::min<std::int64_t>(1, n) && k <= n,
          "a share of a vector, and at least one of it");
  SampledSelection result;
  if (k == n || static_cast<double>(n) <= 2 / ratio) {
    result.positions = top_k(values, k);
    result.selected = k;
    return result;
  }
  const double wanted = std::max(sample_share * static_cast<double>(n), 2 / ratio);
  // Odd, so that it does not run along the columns of a matrix.
  auto stride = static_cast<std::int64_t>(std::ceil(static_cast<double>(n) / wanted / 32)) * 32 + 1;
  const auto samples = [&] { return n / stride; };
  while (stride > 1 && static_cast<double>(samples()) < wanted) stride -= 8;
  const auto begin = static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(stride)));
  std::vector<float> sample;
  for (std::int64_t i = begin; i < n; i += stride)
    sample.push_back(std::abs(values[static_cast<std::size_t>(i)]));
  result.samples = static_cast<std::int64_t>(sample.size());
  const std::int64_t place = count_of(result.samples, ratio, CountRule::ceil) - 1;
  std::nth_element(sample.begin(), sample.begin() + place, sample.end(), std::greater<>());
  float threshold = sample[static_cast<std::size_t>(place)];

  std::vector<std::uint32_t> selected;
  for (int adaptation = 0;; ++adaptation) {
    magnitudes_at_least(values, std::bit_cast<std::uint32_t>(threshold), values.size(), selected);
    const bool few = static_cast<double>(selected.size()) < least_share * static_cast<double>(k);
    if (!few || adaptation == adaptations) break;
    threshold *= static_cast<float>(least_share);
  }
  result.selected = static_cast<std::int64_t>(selected.size());
  if (result.selected > k) {
    std::vector<float> magnitudes;
    for (const std::uint32_t i : selected) magnitudes.push_back(values[static_cast<std::size_t>(i)]);
    for (const std::int64_t j : top_k(magnitudes, k))
      result.positions.push_back(selected[static_cast<std::size_t>(j)]);
  } else {
    result.positions.assign(selected.begin(), selected.end());
  }
  return result;
}

}  // namespace laconic
