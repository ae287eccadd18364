#include "engine/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {

double percentile_of_sorted(std::span<const double> sorted, double p) {
  require(!sorted.empty(), "a percentile needs at least one value");
  const double position = static_cast<double>(sorted.size() - 1) * std::clamp(p, 0.0, 1.0);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

BootstrapInterval bootstrap_mean(std::span<const double> values, std::span<const double> weights,
                                 int resamples, std::uint64_t seed) {
  require(!values.empty(), "a bootstrap needs at least one item");
  require(weights.empty() || weights.size() == values.size(), "one weight per item");
  const auto weight = [&](std::size_t i) { return weights.empty() ? 1.0 : weights[i]; };
  double sum = 0, total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += weight(i) * values[i];
    total += weight(i);
  }
  require(total > 0, "a bootstrap needs an item of positive weight");
  BootstrapInterval result;
  result.mean = result.low = result.high = sum / total;
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(std::max(0, resamples)));
  for (int r = 0; r < resamples; ++r) {
    RandomStream random(seed, "bootstrap", "items", static_cast<std::uint64_t>(r));
    double resampled = 0, drawn = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t item = random.below(static_cast<std::uint32_t>(values.size()));
      resampled += weight(item) * values[item];
      drawn += weight(item);
    }
    if (drawn > 0) means.push_back(resampled / drawn);
  }
  if (means.empty()) return result;
  std::sort(means.begin(), means.end());
  result.low = percentile_of_sorted(means, 0.025);
  result.high = percentile_of_sorted(means, 0.975);
  return result;
}

}  // namespace laconic
