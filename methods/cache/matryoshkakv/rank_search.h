// Algorithm 1 of MatryoshkaKV: from all columns down, always lowering the heads whose loss of one step of
// rank changes the model's predictions least: KL(all columns || lowered) over tokens that follow a compressed
// prompt. The prompt's own activations do not depend on ranks, so it is run once; of a lowered layer only
// what comes after it is run again.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/allocate/stepwise_descent.h"
#include "engine/base/progress.h"
#include "methods/cache/matryoshkakv/rotated_map.h"
#include "runtime/transformer.h"

namespace laconic::matryoshkakv {

struct RankSearch {
  std::int64_t step = 0;     // of ranks
  double share = 0.25;       // mean rank where it ends, of head_dim
  double lowered = 0.05;     // share of the entries that a round lowers
  std::int64_t forced = 64;  // last tokens of each window, predicted through the cache
  std::int64_t window = 32;  // exact tokens before them
  ProgressListener progress;
};

// Error(usage) on windows of fewer than 2 forced + 2 window + 1 tokens.
Descent search_ranks(const Transformer& model, const std::shared_ptr<const ModelBases>& bases,
                     const std::vector<std::vector<std::int32_t>>& windows, const RankSearch& search);

}  // namespace laconic::matryoshkakv
