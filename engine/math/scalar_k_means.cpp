#include "engine/math/scalar_k_means.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

double square_of(double value) { return value * value; }

// The value of a rank in the sorted set.
float at_rank(const std::vector<float>& sorted, std::int64_t zeros, std::int64_t rank) {
  const auto below = std::lower_bound(sorted.begin(), sorted.end(), 0.0f) - sorted.begin();
  if (rank < below) return sorted[static_cast<std::size_t>(rank)];
  if (rank < below + zeros) return 0;
  return sorted[static_cast<std::size_t>(rank - zeros)];
}

std::vector<float> spread_centres(const ScalarSet& set, int k, RandomStream& random) {
  const std::size_t count = set.values.size();
  const auto value_at = [&](std::size_t i) { return i < count ? set.values[i] : 0.0f; };
  std::vector<double> weight(count + 1, 1.0);  // the last one stands for all zeros
  weight[count] = static_cast<double>(set.zeros);
  std::vector<double> distance(count + 1, 1.0);
  std::vector<float> centres;
  while (static_cast<int>(centres.size()) < k) {
    double total = 0;
    for (std::size_t i = 0; i <= count; ++i) total += weight[i] * distance[i];
    const double wanted = static_cast<double>(random.uniform()) * total;
    double sum = 0;
    std::size_t chosen = count + 1, last = count;
    for (std::size_t i = 0; i <= count && chosen > count; ++i) {
      const double share = weight[i] * distance[i];
      if (share > 0) last = i;
      sum += share;
      if (share > 0 && sum > wanted) chosen = i;
    }
    if (chosen > count) chosen = last;
    centres.push_back(value_at(chosen));
    for (std::size_t i = 0; i <= count; ++i) {
      const double own = square_of(static_cast<double>(value_at(i)) - centres.back());
      distance[i] = centres.size() == 1 ? own : std::min(distance[i], own);
    }
  }
  std::sort(centres.begin(), centres.end());
  return centres;
}

}  // namespace

std::vector<float> start_centres(const ScalarSet& set, int k, CentreStart start, RandomStream& random) {
  require(k >= 1 && set.zeros >= 0 && (set.zeros > 0 || !set.values.empty()), "k-means has values");
  if (start == CentreStart::spread) return spread_centres(set, k, random);
  std::vector<float> centres(static_cast<std::size_t>(k));
  if (start == CentreStart::quantiles) {
    std::vector<float> sorted(set.values.begin(), set.values.end());
    std::sort(sorted.begin(), sorted.end());
    const std::int64_t count = static_cast<std::int64_t>(sorted.size()) + set.zeros;
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t rank = std::min(count - 1, (2 * i + 1) * count / (2 * std::int64_t{k}));
      centres[static_cast<std::size_t>(i)] = at_rank(sorted, set.zeros, rank);
    }
    return centres;
  }
  float least = set.zeros > 0 ? 0.0f : set.values.front(), most = least;
  for (const float value : set.values) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
  for (int i = 0; i < k; ++i) {
    const double share = k == 1 ? 0.5 : static_cast<double>(i) / (k - 1);
    centres[static_cast<std::size_t>(i)] =
        static_cast<float>(least + share * (static_cast<double>(most) - static_cast<double>(least)));
  }
  return centres;
}

std::size_t nearest_centre(float value, std::span<const float> centres) {
  std::size_t nearest = 0;
  double least = std::abs(static_cast<double>(value) - centres[0]);
  for (std::size_t i = 1; i < centres.size(); ++i) {
    const double distance = std::abs(static_cast<double>(value) - centres[i]);
    if (distance < least) {
      least = distance;
      nearest = i;
    }
  }
  return nearest;
}

void lloyd_iterations(const ScalarSet& set, std::span<float> centres, int iterations, int pinned) {
  std::vector<double> sum(centres.size()), count(centres.size());
  for (int iteration = 0; iteration < iterations; ++iteration) {
    std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(count.begin(), count.end(), 0.0);
    for (const float value : set.values) {
      const std::size_t nearest = nearest_centre(value, centres);
      sum[nearest] += value;
      ++count[nearest];
    }
    if (set.zeros > 0) count[nearest_centre(0, centres)] += static_cast<double>(set.zeros);
    for (std::size_t i = 0; i < centres.size(); ++i) {
      if (static_cast<int>(i) == pinned) {
        centres[i] = 0;
      } else if (count[i] > 0) {
        centres[i] = static_cast<float>(sum[i] / count[i]);
      }
    }
  }
}

double k_means_objective(const ScalarSet& set, std::span<const float> centres) {
  double sum = 0;
  for (const float value : set.values)
    sum += square_of(static_cast<double>(value) - centres[nearest_centre(value, centres)]);
  return sum + static_cast<double>(set.zeros) * square_of(centres[nearest_centre(0, centres)]);
}

}  // namespace laconic
