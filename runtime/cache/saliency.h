// How much a cached token matters to later queries, judged by the attention that queries paid it so far:
// the normalised attention score of ZipCache (He et al. 2024, arXiv 2405.14256)
//   p_j = sum over i in I of A[i, j] / |{i in I : row i sees column j}|
// A causal softmax has more rows over early columns than over late ones, so that plain column sums prefer
// early tokens whatever they say; the divisor takes that away. I is every row, or a few probes of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"
#include "runtime/cache/attention_scores.h"

namespace laconic {

// Rows that stand for all `tokens` rows of a prompt: the last ceil(recent tokens), and floor(random tokens)
// distinct ones drawn uniformly from those before; ascending. Of fewer than 20 tokens: every row.
std::vector<std::int64_t> probe_rows(std::int64_t tokens, double recent, double random, RandomStream stream);

// Per column, how many of the rows `ids` (ascending) see it, in causal attention with a sliding window
// (0: none).
std::vector<std::int64_t> rows_that_see(std::int64_t tokens, std::span<const std::int64_t> ids,
                                        std::int64_t window = 0);
// The same for all rows 0 .. seen - 1 and columns at the given positions.
std::vector<std::int64_t> rows_that_see(std::int64_t seen, std::span<const std::int32_t> positions,
                                        std::int64_t window = 0);

// p = sums / rows; 0 where no row sees the column. Error(input) on scores that are no sums of attention
// weights: not finite, or negative.
std::vector<float> normalised_scores(std::span<const float> sums, std::span<const std::int64_t> rows);

}  // namespace laconic
