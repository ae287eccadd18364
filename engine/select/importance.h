// From scores to a choice: how scores of several kinds become one, and who is first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// s / mean(s): kinds of scores on one scale. All zero where the mean is zero.
std::vector<float> mean_aligned(std::span<const float> scores);

// How aligned scores g (of all queries so far) and l (of the last ones) become one importance (EMS, Li et al.
// 2024, arXiv 2412.08521; the weight and the maximum are options of ours).
enum class ImportanceRule {
  sum,      // weight g + l
  largest,  // max(weight g, l)
  global,   // g
  local,    // l
};
std::vector<float> importance(std::span<const float> global_scores, std::span<const float> local_scores,
                              ImportanceRule rule, float weight = 1);

// Each score becomes the mean of those whose position is at most width / 2 from its own (odd width; SnapKV,
// Li et al. 2024, arXiv 2404.14469). Positions ascend.
std::vector<float> pooled_scores(std::span<const float> scores, std::span<const std::int32_t> positions,
                                 std::int64_t width);

// The `count` largest scores, largest first; ties: the lower index. Scores are finite.
std::vector<std::int64_t> ranked(std::span<const float> scores, std::int64_t count);

// How many items each part may keep of `total` when the parts compete: each keeps at least
// floor(least_share * total / parts) of its own (or all it has), the rest goes to the largest scores that are
// left, whichever part they are in; ties: the earlier part, then the lower index. The counts sum to `total`,
// or to the number of items. (AdaKV, Feng et al. 2024, arXiv 2407.11550.)
std::vector<std::int64_t> shared_counts(const std::vector<std::vector<float>>& scores, std::int64_t total,
                                        double least_share);

}  // namespace laconic
