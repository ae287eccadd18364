#include "runtime/cache/saliency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

constexpr std::int64_t fewest_probed = 20;  // tokens of which 5 % are a row

}  // namespace

std::vector<std::int64_t> probe_rows(std::int64_t tokens, double recent, double random, RandomStream stream) {
  require(recent >= 0 && recent <= 1 && random >= 0 && random <= 1, "probes are a share of the rows");
  std::vector<std::int64_t> ids;
  const std::int64_t last = tokens < fewest_probed ? tokens : count_of(tokens, recent, CountRule::ceil, 0);
  const std::int64_t before = tokens - last;
  const std::int64_t drawn = std::min(before, count_of(tokens, random, CountRule::floor, 0));
  // Floyd's sampling: `drawn` draws, all sets of that size equally likely.
  std::vector<bool> taken(static_cast<std::size_t>(before));
  for (std::int64_t bound = before - drawn; bound < before; ++bound) {
    const auto pick = static_cast<std::size_t>(stream.below(static_cast<std::uint32_t>(bound + 1)));
    taken[taken[pick] ? static_cast<std::size_t>(bound) : pick] = true;
  }
  for (std::int64_t id = 0; id < before; ++id) {
    if (taken[static_cast<std::size_t>(id)]) ids.push_back(id);
  }
  for (std::int64_t id = before; id < tokens; ++id) ids.push_back(id);
  return ids;
}

std::vector<std::int64_t> rows_that_see(std::int64_t tokens, std::span<const std::int64_t> ids,
                                        std::int64_t window) {
  // Row i sees columns i - window + 1 .. i: one more from where it starts, one less after it ends.
  std::vector<std::int64_t> rows(static_cast<std::size_t>(tokens + 1));
  for (const std::int64_t id : ids) {
    require(id >= 0 && id < tokens, "probes are rows of the prompt");
    ++rows[static_cast<std::size_t>(window > 0 ? std::max<std::int64_t>(0, id - window + 1) : 0)];
    --rows[static_cast<std::size_t>(id + 1)];
  }
  std::partial_sum(rows.begin(), rows.end(), rows.begin());
  rows.pop_back();
  return rows;
}

std::vector<std::int64_t> rows_that_see(std::int64_t seen, std::span<const std::int32_t> positions,
                                        std::int64_t window) {
  std::vector<std::int64_t> rows;
  rows.reserve(positions.size());
  for (const std::int32_t position : positions) {
    const std::int64_t since = std::max<std::int64_t>(0, seen - position);
    rows.push_back(window > 0 ? std::min(window, since) : since);
  }
  return rows;
}

std::vector<float> normalised_scores(std::span<const float> sums, std::span<const std::int64_t> rows) {
  require(sums.size() == rows.size(), "every score has a number of rows");
  std::vector<float> scores(sums.size());
  for (std::size_t j = 0; j < sums.size(); ++j) {
    if (!std::isfinite(sums[j]) || sums[j] < 0) {
      fail(ErrorKind::input, "attention scores are not finite", "KV cache",
           "the model's weights or its input are damaged");
    }
    if (rows[j] > 0) scores[j] = sums[j] / static_cast<float>(rows[j]);
  }
  return scores;
}

}  // namespace laconic
