#include "engine/select/evict_merge.h"

#include <gmock/gmock.h>

#include <cmath>

#include "engine/base/random.h"

namespace laconic {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

struct Rows {
  std::int64_t width = 0;
  std::vector<float> keys, values;
  TokenRows view() const {
    return {static_cast<std::int64_t>(keys.size()) / width, width, width, keys.data(), values.data()};
  }
};

Rows random_rows(std::int64_t count, std::int64_t width, std::uint64_t seed) {
  RandomStream random(seed, "test", "rows");
  Rows rows{width, {}, {}};
  for (std::int64_t i = 0; i < count * width; ++i) {
    rows.keys.push_back(random.gaussian());
    rows.values.push_back(random.gaussian());
  }
  return rows;
}

double norm_of(const float* row, int width) {
  double sum = 0;
  for (int j = 0; j < width; ++j) sum += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  return std::sqrt(sum);
}

// Tokens 0 to 3 of the card: 0 and 2 are centres, 1 and 3 candidates.
const Rows centres{2, {2, 0, 0, 1}, {1, 0, 0, 2}}, tokens{2, {1.8f, .2f, -.1f, 1.1f}, {.8f, .1f, .1f, 1.8f}};

TEST(EvictMerge, TheExampleOfTheCard) {
  const auto centre_of = assign_to_centres(tokens.view(), centres.view(), .6f);
  EXPECT_THAT(centre_of, ElementsAre(0, 1));
  std::vector<float> keys = centres.keys, values = centres.values;
  MergedCentres merged{keys.data(), values.data(), {}};
  merge_into_centres(tokens.view(), centre_of, std::vector<float>{2.68235f, 1.04118f},
                     std::vector<float>{3.24706f, 4.16471f}, centres.view(), {}, merged);
  EXPECT_THAT(keys, Pointwise(FloatNear(1e-5f), std::vector<float>{1.9975f, .10007f, -.01812f, .99984f}));
  EXPECT_THAT(values, Pointwise(FloatNear(1e-5f), std::vector<float>{.90952f, .04524f, .02f, 1.96f}));
  EXPECT_THAT(merged.weights, ElementsAre(FloatNear(5.92941f, 1e-5f), FloatNear(5.20589f, 1e-5f)));
}

TEST(EvictMerge, SimilaritiesOfTheExampleLieWhereTheCardPutsThem) {
  // A token passes exactly the thresholds below its similarity: to centres 2 and 0 token 1 has (.0137,
  // .98621), token 3 (.99436, 0).
  const auto passes = [](float threshold) {
    return assign_to_centres(tokens.view(), centres.view(), threshold);
  };
  EXPECT_THAT(passes(.98620f), ElementsAre(0, 1));
  EXPECT_THAT(passes(.98622f), ElementsAre(zero_class, 1));
  EXPECT_THAT(passes(.99435f), ElementsAre(zero_class, 1));
  EXPECT_THAT(passes(.99437f), ElementsAre(zero_class, zero_class));
  const Rows second{2, {0, 1}, {0, 2}}, first{2, {2, 0}, {1, 0}};
  EXPECT_THAT(assign_to_centres(tokens.view(), second.view(), .0136f), ElementsAre(0, 0));
  EXPECT_THAT(assign_to_centres(tokens.view(), second.view(), .0138f), ElementsAre(zero_class, 0));
  EXPECT_THAT(assign_to_centres(tokens.view(), first.view(), 0), ElementsAre(0, zero_class));
}

TEST(EvictMerge, TwoNegativeCosinesAreNoLikenessUnlessAskedFor) {
  const Rows opposite{2, {-2, 0}, {-1, 0}}, one{2, {2, 0}, {1, 0}};
  EXPECT_THAT(assign_to_centres(opposite.view(), one.view(), .6f), ElementsAre(zero_class));
  EXPECT_THAT(assign_to_centres(opposite.view(), one.view(), .6f, false), ElementsAre(0));
}

TEST(EvictMerge, RowsOfNormZeroAndTiesGoToTheZeroClass) {
  const Rows empty{2, {0, 0, 1, 0}, {1, 0, 0, 0}}, one{2, {1, 0}, {1, 0}};
  EXPECT_THAT(assign_to_centres(empty.view(), one.view(), 0), Each(zero_class));
  EXPECT_THAT(assign_to_centres(one.view(), one.view(), 1), ElementsAre(zero_class));
  EXPECT_THAT(assign_to_centres(one.view(), one.view(), .999f), ElementsAre(0));
  const Rows twice{2, {1, 0, 3, 0}, {1, 0, 2, 0}};
  EXPECT_THAT(assign_to_centres(one.view(), twice.view(), .5f), ElementsAre(0));
  EXPECT_THAT(assign_to_centres({0, 2, 2, nullptr, nullptr}, one.view(), .5f), ElementsAre());
  EXPECT_THAT(assign_to_centres(one.view(), {0, 2, 2, nullptr, nullptr}, .5f), ElementsAre(zero_class));
}

TEST(EvictMerge, KeysKeepTheirNormsAndValuesStayBetweenTheirMembers) {
  const Rows from = random_rows(60, 6, 1), to = random_rows(7, 6, 2);
  const auto centre_of = assign_to_centres(from.view(), to.view(), .05f);
  std::vector<float> member_weights(60), centre_weights(7);
  RandomStream random(3, "test", "weights");
  for (float& w : member_weights) w = random.uniform();
  for (float& w : centre_weights) w = random.uniform();
  for (const bool mean_norm : {false, true}) {
    std::vector<float> keys = to.keys, values = to.values;
    MergedCentres merged{keys.data(), values.data(), {}};
    merge_into_centres(from.view(), centre_of, member_weights, centre_weights, to.view(), {true, mean_norm},
                       merged);
    int changed = 0;
    for (std::size_t c = 0; c < 7; ++c) {
      const double own_norm = norm_of(&to.keys[c * 6], 6);
      double mass = static_cast<double>(centre_weights[c]), norms = mass * own_norm;
      std::vector<float> low(&to.values[c * 6], &to.values[c * 6] + 6), high = low;
      bool alone = true;
      for (std::size_t x = 0; x < 60; ++x) {
        if (centre_of[x] != static_cast<std::int32_t>(c)) continue;
        alone = false;
        mass += static_cast<double>(member_weights[x]);
        norms += static_cast<double>(member_weights[x]) * norm_of(&from.keys[x * 6], 6);
        for (std::size_t j = 0; j < 6; ++j) {
          low[j] = std::min(low[j], from.values[x * 6 + j]);
          high[j] = std::max(high[j], from.values[x * 6 + j]);
        }
      }
      EXPECT_NEAR(norm_of(&keys[c * 6], 6), mean_norm && !alone ? norms / mass : own_norm, 1e-5);
      EXPECT_NEAR(merged.weights[c], mass, 1e-5);
      for (std::size_t j = 0; j < 6; ++j) {
        EXPECT_GE(values[c * 6 + j], low[j] - 1e-5f);
        EXPECT_LE(values[c * 6 + j], high[j] + 1e-5f);
      }
      changed += alone ? 0 : 1;
    }
    EXPECT_GT(changed, 3);
  }
}

TEST(EvictMerge, ValuesAloneLeaveKeysAndWeightlessGroupsStay) {
  const std::vector<std::int32_t> centre_of = {0, 1};
  std::vector<float> keys = centres.keys, values = centres.values;
  MergedCentres merged{keys.data(), values.data(), {}};
  merge_into_centres(tokens.view(), centre_of, std::vector<float>{1, 0}, std::vector<float>{1, 0},
                     centres.view(), {false, false}, merged);
  EXPECT_EQ(keys, centres.keys);
  EXPECT_THAT(values, Pointwise(FloatNear(1e-6f), std::vector<float>{.9f, .05f, 0, 2}));
  EXPECT_THAT(merged.weights, ElementsAre(2, 0));
}

TEST(EvictMerge, KeysThatCancelKeepTheDirectionOfTheirCentre) {
  const Rows one{2, {2, 0}, {1, 0}}, opposite{2, {-5, 0}, {3, 0}};
  std::vector<float> keys = one.keys, values = one.values;
  MergedCentres merged{keys.data(), values.data(), {}};
  merge_into_centres(opposite.view(), std::vector<std::int32_t>{0}, std::vector<float>{1},
                     std::vector<float>{1}, one.view(), {}, merged);
  EXPECT_EQ(keys, one.keys);
  EXPECT_THAT(values, ElementsAre(2, 0));
}

// Six rows of three kinds, two of each: rows 0 and 3, 1 and 4, 2 and 5 point the same way.
Rows three_kinds() {
  Rows rows{3, {1, 0, 0, 0, 1, 0, 0, 0, 1, 2, .1f, 0, 0, 3, .1f, .1f, 0, 4}, {}};
  rows.values = rows.keys;
  return rows;
}

TEST(DistinctCentres, WhatResemblesACentreTakesNoSlot) {
  const Rows rows = three_kinds();
  const std::vector<std::int64_t> order = {0, 3, 1, 4, 2, 5};
  const Grouping all = distinct_centres(rows.view(), order, 3, 6, 0.9f);
  EXPECT_THAT(all.centres, ElementsAre(0, 1, 2));
  EXPECT_THAT(all.centre_of, ElementsAre(0, 1, 2, 0, 1, 2));
  // Without the resemblance it would have been the first three of the order.
  EXPECT_THAT(distinct_centres(rows.view(), order, 3, 6, 0.9999f).centres, ElementsAre(0, 3, 1));
  // Members beyond their number are dropped, and still take no slot.
  const Grouping few = distinct_centres(rows.view(), order, 3, 1, 0.9f);
  EXPECT_THAT(few.centres, ElementsAre(0, 1, 2));
  EXPECT_THAT(few.centre_of, ElementsAre(0, 1, 2, 0, zero_class, zero_class));
  // Later rows that resemble nothing are dropped once the slots are taken.
  EXPECT_THAT(distinct_centres(rows.view(), order, 2, 6, 0.9f).centre_of,
              ElementsAre(0, 1, zero_class, 0, 1, zero_class));
}

TEST(DistinctCentres, SlotsThatAreLeftGoToTheMostImportantOfTheOthers) {
  const Rows rows = three_kinds();
  const Grouping left =
      distinct_centres(rows.view(), std::vector<std::int64_t>{5, 4, 3, 2, 1, 0}, 5, 6, 0.9f);
  EXPECT_THAT(left.centres, ElementsAre(5, 4, 3, 2, 1));
  EXPECT_THAT(left.centre_of, ElementsAre(2, 4, 3, 2, 1, 0));
}

TEST(DistinctCentres, OppositesAreAlikeOnlyWithoutTheClamp) {
  const Rows rows{2, {1, 0, -1, 0}, {1, 0, -1, 0}};
  const std::vector<std::int64_t> order = {0, 1};
  EXPECT_THAT(distinct_centres(rows.view(), order, 1, 1, 0.5f).centre_of, ElementsAre(0, zero_class));
  EXPECT_THAT(distinct_centres(rows.view(), order, 1, 1, 0.5f, false).centre_of, ElementsAre(0, 0));
}

}  // namespace
}  // namespace laconic
