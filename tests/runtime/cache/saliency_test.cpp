#include "runtime/cache/saliency.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "engine/base/error.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

// A prompt of one head whose softmax rows are `weights` (lower triangle, all positive): keys are unit
// vectors, a query holds the logarithms of its row.
struct KnownAttention {
  explicit KnownAttention(const std::vector<std::vector<double>>& weights) {
    const auto tokens = static_cast<std::int64_t>(weights.size());
    shape.layers = shape.kv_heads = shape.heads = 1;
    shape.head_dim = tokens;
    keys.resize(static_cast<std::size_t>(tokens * tokens));
    queries.resize(keys.size());
    for (std::int64_t i = 0; i < tokens; ++i) {
      keys[static_cast<std::size_t>(i * tokens + i)] = 1;
      for (std::int64_t j = 0; j <= i; ++j) {
        queries[static_cast<std::size_t>(i * tokens + j)] =
            static_cast<float>(std::log(weights[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)]) *
                               std::sqrt(static_cast<double>(tokens)));
      }
    }
    rows.rows = tokens;
    rows.keys = rows.values = keys.data();
    rows.queries = queries.data();
  }
  PromptScores scores() const { return PromptScores(shape, 0, rows); }

  KvShape shape;
  std::vector<float> keys, queries;
  LayerRows rows;
};

const std::vector<std::vector<double>> example = {{1}, {.4, .6}, {.1, .2, .7}, {.1, .3, .2, .4}};

TEST(Saliency, TheExampleOfTheCardPrefersTheLateToken) {
  const KnownAttention attention(example);
  const std::vector<float> sums = attention.scores().column_sums().front();
  EXPECT_THAT(sums, Pointwise(FloatNear(1e-6f), std::vector<float>{1.6f, 1.1f, .9f, .4f}));
  EXPECT_THAT(top_k(sums, 1), ElementsAre(0));
  const std::vector<std::int64_t> all = {0, 1, 2, 3};
  const std::vector<float> scores = normalised_scores(sums, rows_that_see(4, all));
  EXPECT_THAT(scores, Pointwise(FloatNear(1e-5f), std::vector<float>{.4f, .36667f, .45f, .4f}));
  EXPECT_THAT(top_k(scores, 1), ElementsAre(2));
}

TEST(Saliency, ProbesOfTheExampleAreDividedByTheProbesThatSeeAColumn) {
  const KnownAttention attention(example);
  const std::vector<std::int64_t> probes = {0, 3};
  const std::vector<float> scores =
      normalised_scores(attention.scores().sums(probes).front(), rows_that_see(4, probes));
  EXPECT_THAT(scores, Pointwise(FloatNear(1e-6f), std::vector<float>{.55f, .3f, .2f, .4f}));
}

TEST(Saliency, OfUniformAttentionSumsFallAndScoresFallLess) {
  constexpr std::size_t tokens = 12;
  std::vector<std::vector<double>> weights;
  for (std::size_t i = 0; i < tokens; ++i) weights.emplace_back(i + 1, 1.0 / static_cast<double>(i + 1));
  const KnownAttention attention(weights);
  const std::vector<float> sums = attention.scores().column_sums().front();
  std::vector<std::int32_t> positions(tokens);
  for (std::size_t j = 0; j < tokens; ++j) positions[j] = static_cast<std::int32_t>(j);
  const std::vector<float> scores =
      normalised_scores(sums, rows_that_see(static_cast<std::int64_t>(tokens), positions));
  for (std::size_t j = 0; j < tokens; ++j) {
    double mean = 0;
    for (std::size_t i = j; i < tokens; ++i) mean += 1 / static_cast<double>((i + 1) * (tokens - j));
    EXPECT_NEAR(scores[j], mean, 1e-6);
    if (j == 0) continue;
    EXPECT_LT(sums[j], sums[j - 1]);
    EXPECT_LT(scores[j], scores[j - 1]);
  }
  EXPECT_GT(sums.front() / sums.back(), scores.front() / scores.back());
}

TEST(Saliency, AllRowsAsProbesGiveExactlyTheFullScore) {
  const KnownAttention attention(example);
  const std::vector<std::int64_t> all = probe_rows(4, .05, .05, RandomStream(1, "test", "probes"));
  EXPECT_THAT(all, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(attention.scores().sums(all), attention.scores().column_sums());
  const std::vector<std::int32_t> positions = {0, 1, 2, 3};
  EXPECT_EQ(rows_that_see(4, all), rows_that_see(4, positions));
}

TEST(Saliency, ProbesAreTheLastRowsAndDistinctOthers) {
  for (const std::int64_t tokens : {20, 21, 59, 60, 140, 1000}) {
    const std::vector<std::int64_t> ids = probe_rows(tokens, .05, .05, RandomStream(7, "test", "probes"));
    const std::int64_t last = (tokens + 19) / 20;
    ASSERT_EQ(static_cast<std::int64_t>(ids.size()), last + tokens / 20) << tokens;
    EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
    EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
    EXPECT_EQ(ids[ids.size() - static_cast<std::size_t>(last)], tokens - last);
    EXPECT_EQ(ids.back(), tokens - 1);
    EXPECT_EQ(ids, probe_rows(tokens, .05, .05, RandomStream(7, "test", "probes")));
  }
  EXPECT_NE(probe_rows(1000, .05, .05, RandomStream(7, "test", "probes")),
            probe_rows(1000, .05, .05, RandomStream(8, "test", "probes")));
  EXPECT_EQ(probe_rows(100, 1, .05, RandomStream(7, "test", "probes")).size(), 100u);
  EXPECT_TRUE(probe_rows(0, .05, .05, RandomStream(7, "test", "probes")).empty());
}

TEST(Saliency, EveryRowIsDrawnEquallyOften) {
  constexpr std::int64_t tokens = 40, runs = 4000;
  std::vector<int> drawn(static_cast<std::size_t>(tokens));
  for (std::uint64_t seed = 0; seed < runs; ++seed) {
    for (const std::int64_t id : probe_rows(tokens, 0, .25, RandomStream(seed, "test", "probes")))
      ++drawn[static_cast<std::size_t>(id)];
  }
  // Binomial(4000, 1/4): 5 standard deviations are 137.
  for (const int times : drawn) EXPECT_NEAR(times, 1000, 137);
}

TEST(Saliency, ASlidingWindowLimitsTheRowsThatSeeAColumn) {
  const std::vector<std::int64_t> ids = {1, 4, 5};
  EXPECT_THAT(rows_that_see(6, ids, 2), ElementsAre(1, 1, 0, 1, 2, 1));
  const std::vector<std::int32_t> positions = {0, 3, 5};
  EXPECT_THAT(rows_that_see(6, positions, 2), ElementsAre(2, 2, 1));
  // What no row sees has no score.
  EXPECT_THAT(normalised_scores(std::vector<float>{.5f, 0}, std::vector<std::int64_t>{2, 0}),
              ElementsAre(.25f, 0));
}

TEST(Saliency, RefusesWhatIsNoScore) {
  const std::vector<std::int64_t> rows = {1};
  for (const float bad : {std::nanf(""), INFINITY, -1.0f}) {
    try {
      normalised_scores(std::vector<float>{bad}, rows);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
    }
  }
}

}  // namespace
}  // namespace laconic
