#include "engine/math/rank_rule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/math/linear_algebra.h"
#include "engine/math/sign_rule.h"
#include "engine/math/svd.h"

namespace laconic {
namespace {

using Kind = RankRule::Kind;

// Squares 16, 9, 4, 1: sum 30.
const std::vector<double> values = {4, 3, 2, 1};

std::int64_t rank(Kind kind, double parameter, int cuts = 1) {
  return rank_of(RankRule{kind, parameter, cuts}, values);
}

TEST(RankRule, Fixed) {
  EXPECT_EQ(rank(Kind::fixed, 3), 3);
  EXPECT_EQ(rank(Kind::fixed, 9), 4);
  EXPECT_EQ(rank(Kind::fixed, 0), 0);
}

TEST(RankRule, EnergyIsTheLeastRankWithTheShareAndAtLeastOne) {
  EXPECT_EQ(rank(Kind::energy, 0.01), 1);
  EXPECT_EQ(rank(Kind::energy, 16.0 / 30 - 1e-9), 1);
  EXPECT_EQ(rank(Kind::energy, 16.0 / 30 + 1e-9), 2);
  EXPECT_EQ(rank(Kind::energy, 25.0 / 30 + 1e-9), 3);
  EXPECT_EQ(rank(Kind::energy, 1), 4);
  EXPECT_EQ(rank_of(RankRule{Kind::energy, 0.5}, std::vector<double>{0, 0}), 1);
  EXPECT_EQ(rank_of(RankRule{Kind::energy, 0.5}, std::vector<double>{}), 0);
}

TEST(RankRule, ValueKeepsWhatReachesIt) {
  EXPECT_EQ(rank(Kind::value, 2), 3);
  EXPECT_EQ(rank(Kind::value, 2.0001), 2);
  EXPECT_EQ(rank(Kind::value, 5), 0);
}

TEST(RankRule, FractionRoundsToNearestAndKeepsOne) {
  EXPECT_EQ(rank(Kind::fraction, 0.5), 2);
  EXPECT_EQ(rank(Kind::fraction, 0.625), 2);  // 2.5: ties to even
  EXPECT_EQ(rank(Kind::fraction, 0.01), 1);
  EXPECT_EQ(rank_of(RankRule{Kind::fraction, 0.25}, 12), 3);
}

TEST(RankRule, RelativeErrorBoundsTheTail) {
  EXPECT_EQ(rank(Kind::relative_error, std::sqrt(1.0 / 30) + 1e-9), 3);
  EXPECT_EQ(rank(Kind::relative_error, std::sqrt(1.0 / 30) - 1e-9), 4);
  EXPECT_EQ(rank(Kind::relative_error, std::sqrt(5.0 / 30) + 1e-9), 2);
  EXPECT_EQ(rank(Kind::relative_error, std::sqrt(5.0 / 30) + 1e-9, 2), 3);  // half the room for each cut
  EXPECT_EQ(rank(Kind::relative_error, 1), 0);
}

TEST(RankRule, RoundingIsNotKept) {
  const std::vector<double> noisy = {1, 0.5, 1e-8, 1e-9};
  EXPECT_EQ(rank_of(RankRule{Kind::value, 1e-12}, noisy), 2);
  EXPECT_EQ(rank_of(RankRule{Kind::energy, 1}, noisy), 2);
  EXPECT_EQ(rank_of(RankRule{Kind::relative_error, 1e-12}, noisy), 2);
  EXPECT_EQ(rank_of(RankRule{Kind::fixed, 4}, noisy), 4);
  const std::vector<float> single(noisy.begin(), noisy.end());
  EXPECT_EQ(rank_of(RankRule{Kind::energy, 1}, single), 2);
}

TEST(RankRule, DenseWhereFactorsAreNotSmaller) {
  EXPECT_TRUE(factors_are_smaller(4, 10, 10));
  EXPECT_FALSE(factors_are_smaller(5, 10, 10));  // 100 against 100
  EXPECT_FALSE(factors_are_smaller(0, 10, 10));
  EXPECT_FALSE(factors_are_smaller(1, 1, 50));
}

TEST(SignRule, LargestMagnitudeIsPositiveAndTiesGoToTheLowestIndex) {
  const auto breaks = [](std::vector<double> v) {
    return breaks_sign_rule(v.data(), static_cast<std::int64_t>(v.size()), 1);
  };
  EXPECT_TRUE(breaks({1, -3, 2}));
  EXPECT_FALSE(breaks({-1, 3, -2}));
  EXPECT_TRUE(breaks({-3, 3}));
  EXPECT_FALSE(breaks({3, -3}));
  EXPECT_FALSE(breaks({0, 0}));
  EXPECT_FALSE(breaks({-0.0}));
  std::vector<float> matrix = {1, -5, 2, 6, -3, -7};       // [3, 2]
  EXPECT_TRUE(breaks_sign_rule(matrix.data(), 3, 2));      // 1, 2, -3
  EXPECT_TRUE(breaks_sign_rule(matrix.data() + 1, 3, 2));  // -5, 6, -7
  negate(matrix.data(), 3, 2);
  EXPECT_EQ(matrix, (std::vector<float>{-1, -5, -2, 6, 3, -7}));
}

std::vector<double> gaussian(std::int64_t count) {
  const RandomStream random(9, "test", "svd64");
  std::vector<double> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = random.gaussian_at(i);
  return result;
}

TEST(Svd64, RebuildsTheMatrixWithOrthonormalFactorsAndSigns) {
  for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {7, 3}, {3, 7}, {40, 40}, {1, 9}}) {
    const std::vector<double> a = gaussian(m * n);
    const Svd64 svd = exact_svd64(a, m, n);
    ASSERT_EQ(svd.rank, std::min(m, n));
    const std::int64_t r = svd.rank;
    for (std::int64_t k = 0; k < r; ++k) {
      if (k > 0) {
        EXPECT_LE(svd.values[k], svd.values[k - 1]);
      }
      EXPECT_FALSE(breaks_sign_rule(svd.u.data() + k, m, r));
      for (std::int64_t l = 0; l <= k; ++l) {
        double left = 0, right = 0;
        for (std::int64_t i = 0; i < m; ++i) left += svd.u[i * r + k] * svd.u[i * r + l];
        for (std::int64_t j = 0; j < n; ++j) right += svd.v[k * n + j] * svd.v[l * n + j];
        EXPECT_NEAR(left, k == l, 1e-12);
        EXPECT_NEAR(right, k == l, 1e-12);
      }
    }
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < r; ++k) sum += svd.u[i * r + k] * svd.values[k] * svd.v[k * n + j];
        EXPECT_NEAR(sum, a[i * n + j], 1e-12);
      }
    }
    // The f32 form agrees, signs included.
    const std::vector<float> single(a.begin(), a.end());
    const Svd f32 = exact_svd(single.data(), m, n);
    for (std::int64_t k = 0; k < r; ++k) EXPECT_NEAR(f32.values[k], svd.values[k], 1e-4);
  }
  EXPECT_EQ(exact_svd64({}, 0, 5).rank, 0);
}

}  // namespace
}  // namespace laconic
