#include "runtime/cache/attention_scores.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

TEST(PromptScores, SumsEqualThoseOfTheRows) {
  for (const std::int64_t window : {0, 11}) {
    const KvShape shape{1, 2, 6, 8, 8, {window}, nullptr};
    const RandomLayer layer(shape, 75);
    const LayerRows rows = layer.rows(0, 75);
    const PromptScores scores(shape, 0, rows);
    const std::vector<std::int64_t> ids = {3, 10, 40, 41, 74};
    std::vector<std::vector<double>> expected(2, std::vector<double>(75));
    for (const std::int64_t id : ids) {
      const auto row = scores.row(id);
      for (std::size_t head = 0; head < 6; ++head) {
        for (std::size_t j = 0; j < row[head].size(); ++j)
          expected[head / 3][j] += static_cast<double>(row[head][j]);
      }
    }
    const auto sums = scores.sums(ids);
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t j = 0; j < 75; ++j) EXPECT_NEAR(sums[h][j], expected[h][j], 1e-5);
    }
    // Every softmax row sums to one.
    const auto columns = scores.column_sums();
    for (std::size_t h = 0; h < 2; ++h)
      EXPECT_NEAR(std::accumulate(columns[h].begin(), columns[h].end(), 0.0), 75.0 * 3, 1e-3);
  }
}

}  // namespace
}  // namespace laconic
