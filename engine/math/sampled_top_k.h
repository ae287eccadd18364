// Nearly the largest entries of a long vector at the price of reading it: a threshold from a sample, then
// exact selection among the few that pass (Deep Gradient Compression, Lin et al. 2018, arXiv 1712.01887,
// section 3 and appendix; card 07).
//
//   sample     every stride-th entry from a random start; at least max(1 % n, 2 / ratio) of them
//   threshold  the ceil(samples ratio)-th largest magnitude of the sample
//   selected   entries of at least that magnitude; fewer than 0.8 k: threshold x 0.8, up to 10 times
//   result     all selected, or the k largest of them when there are more
//
// Vectors of at most 2 / ratio numbers, or k of k, are selected from exactly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

struct SampledSelection {
  std::vector<std::int64_t> positions;  // ascending, at most k
  std::int64_t samples = 0;             // 0: exact
  std::int64_t selected = 0;            // by the last threshold, before the k largest are taken
};
// 1 <= k <= n, 0 < ratio <= 1. Ties go to the lower index.
SampledSelection sampled_top_k(std::span<const float> values, std::int64_t k, double ratio,
                               RandomStream random);

}  // namespace laconic
