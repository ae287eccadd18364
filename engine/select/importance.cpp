#include "engine/select/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"

namespace laconic {

std::vector<float> mean_aligned(std::span<const float> scores) {
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  std::vector<float> aligned(scores.size());
  if (sum == 0) return aligned;
  const double inverse = static_cast<double>(scores.size()) / sum;
  for (std::size_t i = 0; i < scores.size(); ++i)
    aligned[i] = static_cast<float>(static_cast<double>(scores[i]) * inverse);
  return aligned;
}

std::vector<float> importance(std::span<const float> global_scores, std::span<const float> local_scores,
                              ImportanceRule rule, float weight) {
  const auto aligned = [](std::span<const float> scores, bool wanted) {
    return wanted ? mean_aligned(scores) : std::vector<float>{};
  };
  std::vector<float> g = aligned(global_scores, rule != ImportanceRule::local);
  std::vector<float> l = aligned(local_scores, rule != ImportanceRule::global);
  if (rule == ImportanceRule::global) return g;
  if (rule == ImportanceRule::local) return l;
  require(g.size() == l.size(), "both kinds of scores are of the same tokens");
  for (std::size_t i = 0; i < l.size(); ++i)
    l[i] = rule == ImportanceRule::sum ? weight * g[i] + l[i] : std::max(weight * g[i], l[i]);
  return l;
}

std::vector<float> pooled_scores(std::span<const float> scores, std::span<const std::int32_t> positions,
                                 std::int64_t width) {
  require(width >= 1 && width % 2 == 1 && positions.size() == scores.size(),
          "pooling is over an odd number of positions");
  std::vector<float> pooled(scores.begin(), scores.end());
  const std::int64_t reach = width / 2;
  if (reach == 0) return pooled;
  std::size_t low = 0, high = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    while (positions[low] < positions[i] - reach) ++low;
    while (high < scores.size() && positions[high] <= positions[i] + reach) ++high;
    double sum = 0;
    for (std::size_t j = low; j < high; ++j) sum += static_cast<double>(scores[j]);
    pooled[i] = static_cast<float>(sum / static_cast<double>(high - low));
  }
  return pooled;
}

std::vector<std::int64_t> ranked(std::span<const float> scores, std::int64_t count) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto first = [&](std::int64_t a, std::int64_t b) {
    const float left = scores[static_cast<std::size_t>(a)], right = scores[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  };
  const std::int64_t kept = std::clamp<std::int64_t>(count, 0, static_cast<std::int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), first);
  order.resize(static_cast<std::size_t>(kept));
  return order;
}

std::vector<std::int64_t> shared_counts(const std::vector<std::vector<float>>& scores, std::int64_t total,
                                        double least_share) {
  require(!scores.empty() && total >= 0 && least_share >= 0 && least_share <= 1, "parts share a total");
  const auto least = static_cast<std::int64_t>(
      std::floor(least_share * static_cast<double>(total) / static_cast<double>(scores.size()) + 1e-9));
  std::vector<std::int64_t> counts;
  std::vector<float> rest;
  std::vector<std::size_t> owners;
  std::int64_t left = total;
  for (std::size_t part = 0; part < scores.size(); ++part) {
    const auto size = static_cast<std::int64_t>(scores[part].size());
    counts.push_back(std::min(least, size));
    left -= counts.back();
    std::vector<bool> own(scores[part].size());
    for (const std::int64_t i : ranked(scores[part], counts.back())) own[static_cast<std::size_t>(i)] = true;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (own[i]) continue;
      rest.push_back(scores[part][i]);
      owners.push_back(part);
    }
  }
  for (const std::int64_t i : ranked(rest, left)) ++counts[owners[static_cast<std::size_t>(i)]];
  return counts;
}

}  // namespace laconic
