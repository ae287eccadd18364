#include "engine/math/rank_rule.h"

#include <algorithm>
#include <vector>

#include "engine/base/error.h"
#include "engine/math/top_k.h"

namespace laconic {

std::int64_t rank_of(const RankRule& rule, std::int64_t count) {
  require(!rule.needs_values(), "a rule that needs singular values is given them");
  if (rule.kind == RankRule::Kind::fraction) return count == 0 ? 0 : count_of(count, rule.parameter);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(rule.parameter), 0, count);
}

std::int64_t rank_of(const RankRule& rule, std::span<const double> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  if (!rule.needs_values()) return rank_of(rule, count);
  const auto kept = std::find_if(values.begin(), values.end(),
                                 [&](double s) { return !(s > relative_rank_cutoff * values[0]); });
  const std::int64_t most = kept - values.begin();
  if (rule.kind == RankRule::Kind::value) {
    return std::find_if(values.begin(), kept, [&](double s) { return !(s >= rule.parameter); }) -
           values.begin();
  }
  // Sums from the small end, where rounding is least: tail[r] = sum of squares from value r on.
  std::vector<double> tail(values.size() + 1, 0.0);
  for (std::size_t r = values.size(); r-- > 0;) tail[r] = tail[r + 1] + values[r] * values[r];
  const bool energy = rule.kind == RankRule::Kind::energy;
  const double spare = energy ? 1 - rule.parameter : rule.parameter * rule.parameter / rule.cuts;
  std::int64_t rank = 0;
  while (rank < most && tail[static_cast<std::size_t>(rank)] > spare * tail[0]) ++rank;
  return energy ? std::max<std::int64_t>(rank, std::min<std::int64_t>(1, count)) : rank;
}

std::int64_t rank_of(const RankRule& rule, std::span<const float> values) {
  return rank_of(rule, std::span<const double>(std::vector<double>(values.begin(), values.end())));
}

}  // namespace laconic
