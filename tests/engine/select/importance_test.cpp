#include "engine/select/importance.h"

#include <gmock/gmock.h>

#include <numeric>

#include "engine/base/random.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

const std::vector<float> all = {3, 1, 2, .5f, .25f, .05f}, last = {.1f, .3f, .4f, .1f, .05f, .05f};

TEST(Importance, TheExampleOfTheCard) {
  EXPECT_THAT(importance(all, last, ImportanceRule::sum),
              Pointwise(FloatNear(1e-5f),
                        std::vector<float>{3.24706f, 2.68235f, 4.16471f, 1.04118f, .52059f, .34412f}));
}

TEST(Importance, IsOneKindOrTheLargerOfBoth) {
  const std::vector<float> g = importance(all, last, ImportanceRule::global),
                           l = importance(all, last, ImportanceRule::local),
                           m = importance(all, last, ImportanceRule::largest, 2);
  EXPECT_EQ(g, mean_aligned(all));
  EXPECT_EQ(l, mean_aligned(last));
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_FLOAT_EQ(m[i], std::max(2 * g[i], l[i]));
  EXPECT_NEAR(std::accumulate(g.begin(), g.end(), 0.0), 6, 1e-5);
}

TEST(Importance, AKindWithoutAnyWeightIsDropped) {
  EXPECT_EQ(importance(all, std::vector<float>(6), ImportanceRule::sum), mean_aligned(all));
  EXPECT_THAT(mean_aligned(std::vector<float>{}), ElementsAre());
}

TEST(PooledScores, AreMeansOverPositionsThatExist) {
  const std::vector<float> scores = {3, 0, 6, 0, 1};
  EXPECT_THAT(pooled_scores(scores, std::vector<std::int32_t>{0, 1, 2, 3, 4}, 3),
              ElementsAre(1.5f, 3, 2, FloatNear(7.0f / 3, 1e-6f), .5f));
  // A token alone among its positions keeps its score.
  EXPECT_THAT(pooled_scores(scores, std::vector<std::int32_t>{0, 1, 9, 20, 21}, 5),
              ElementsAre(1.5f, 1.5f, 6, .5f, .5f));
  EXPECT_EQ(pooled_scores(scores, std::vector<std::int32_t>{0, 1, 2, 3, 4}, 1), scores);
}

TEST(Ranked, PutsTheLargestFirstAndTheLowerIndexBeforeItsEqual) {
  EXPECT_THAT(ranked(std::vector<float>{1, 3, 2, 3, 1}, 4), ElementsAre(1, 3, 2, 0));
  EXPECT_THAT(ranked(std::vector<float>{1, 3}, 9), ElementsAre(1, 0));
  EXPECT_THAT(ranked(std::vector<float>{}, 3), ElementsAre());
}

TEST(SharedCounts, FollowTheScoresAboveTheFloor) {
  const std::vector<std::vector<float>> scores = {{9, 8, 7, 6, 5}, {1, 1, 1, 1, 1}};
  EXPECT_THAT(shared_counts(scores, 6, 0), ElementsAre(5, 1));
  EXPECT_THAT(shared_counts(scores, 6, .5), ElementsAre(5, 1));
  EXPECT_THAT(shared_counts(scores, 4, .5), ElementsAre(3, 1));
  EXPECT_THAT(shared_counts(scores, 4, 1), ElementsAre(2, 2));
  EXPECT_THAT(shared_counts(scores, 99, .2), ElementsAre(5, 5));
  // Equal scores go to the earlier part.
  EXPECT_THAT(shared_counts({{1, 1}, {1, 1}}, 3, 0), ElementsAre(2, 1));
}

TEST(SharedCounts, SumToTheTotalAndKeepTheFloor) {
  RandomStream random(5, "test", "scores");
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<std::vector<float>> scores(1 + random.below(6));
    std::int64_t items = 0;
    for (auto& part : scores) {
      part.resize(random.below(60));
      for (float& score : part) score = random.uniform() * static_cast<float>(1 + random.below(4));
      items += static_cast<std::int64_t>(part.size());
    }
    const std::int64_t total = random.below(200);
    const auto counts = shared_counts(scores, total, .2);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), std::min(total, items));
    const auto least =
        static_cast<std::int64_t>(.2 * static_cast<double>(total) / static_cast<double>(scores.size()));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      EXPECT_GE(counts[i], std::min(least, static_cast<std::int64_t>(scores[i].size())));
      EXPECT_LE(counts[i], static_cast<std::int64_t>(scores[i].size()));
    }
  }
}

}  // namespace
}  // namespace laconic
