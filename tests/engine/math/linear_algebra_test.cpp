#include "engine/math/linear_algebra.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/random.h"
#include "engine/math/blas.h"
#include "engine/math/svd.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

std::vector<double> random_spd(std::int64_t n, std::uint64_t seed) {
  RandomStream random(seed, "test", "spd");
  std::vector<double> x(static_cast<std::size_t>(3 * n * n)), h(static_cast<std::size_t>(n * n));
  for (double& value : x) value = random.gaussian();
  gram(x.data(), 3 * n, n, h.data());
  return h;
}

TEST(LinearAlgebra, InverseFactorTimesItsTransposeInvertsTheMatrix) {
  constexpr std::int64_t n = 37;
  const std::vector<double> h = random_spd(n, 1);
  const InverseFactor factor = inverse_factor(h, n, 0, "h");
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double product = 0;  // (U^T U H)[i, j]
      for (std::int64_t k = 0; k < n; ++k) {
        double inverse = 0;
        for (std::int64_t l = 0; l < n; ++l) inverse += factor.upper[l * n + i] * factor.upper[l * n + k];
        product += inverse * h[k * n + j];
      }
      ASSERT_NEAR(product, i == j ? 1 : 0, 1e-9);
      if (j < i) {
        ASSERT_EQ(factor.upper[i * n + j], 0);
      }
    }
  }
}

TEST(LinearAlgebra, SingularMomentsGetMoreDamping) {
  std::vector<double> h(16, 1.0);  // rank one
  EXPECT_GT(inverse_factor(h, 4, 0.01, "h").damping, 0);
  EXPECT_ANY_THROW(inverse_factor({std::nan("")}, 1, 0.01, "h"));
}

TEST(LinearAlgebra, SmallSolvesMatchTheirRightSide) {
  const std::vector<double> a = random_spd(9, 4);
  std::vector<double> b = {1, -2, 3, 0, 5, -6, 7, 8, 9}, x = b;
  ASSERT_TRUE(solve_symmetric(a.data(), x.data(), 9));
  for (int i = 0; i < 9; ++i) {
    double sum = 0;
    for (int j = 0; j < 9; ++j) sum += a[i * 9 + j] * x[j];
    EXPECT_NEAR(sum, b[i], 1e-8);
  }
}

TEST(LinearAlgebra, EigenvectorsRebuildTheMatrixAndDescend) {
  constexpr std::int64_t n = 12;
  const std::vector<double> a = random_spd(n, 2);
  const Eigen eigen = symmetric_eigen(a, n);
  for (std::int64_t k = 1; k < n; ++k) EXPECT_LE(eigen.values[k], eigen.values[k - 1]);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < n; ++k)
        sum += eigen.values[k] * eigen.vectors[i * n + k] * eigen.vectors[j * n + k];
      EXPECT_NEAR(sum, a[i * n + j], 1e-9);
    }
  }
}

TEST(Svd, ExactAndRandomisedAgreeOnALowRankMatrix) {
  constexpr std::int64_t m = 90, n = 60, r = 5;
  RandomStream random(3, "test", "svd");
  std::vector<float> left(m * r), right(r * n), a(m * n);
  for (float& v : left) v = random.gaussian();
  for (float& v : right) v = random.gaussian();
  gemm(Transpose::no, Transpose::no, m, n, r, 1.0f, left.data(), r, right.data(), n, 0.0f, a.data(), n);
  const Svd exact = exact_svd(a.data(), m, n);
  const Svd fast = randomised_svd(a.data(), m, n, r, RandomStream(1, "svd", "x"));
  ASSERT_EQ(fast.rank, r);
  for (std::int64_t k = 0; k < r; ++k) {
    EXPECT_NEAR(fast.values[k], exact.values[k], 1e-3f * exact.values[0]);
    for (std::int64_t i = 0; i < m; ++i) EXPECT_NEAR(fast.u[i * r + k], exact.u[i * exact.rank + k], 1e-3f);
  }
  EXPECT_LT(exact.values[r], 1e-4f * exact.values[0]);
}

TEST(TopK, KeepsExactlyKAndBreaksTiesByIndex) {
  const std::vector<float> values = {1, -3, 3, 0, -3, 2};
  EXPECT_EQ(top_k(values, 2), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(top_k(values, 4), (std::vector<std::int64_t>{1, 2, 4, 5}));
  EXPECT_TRUE(top_k(values, 0).empty());
  EXPECT_EQ(top_k(values, 99).size(), values.size());
  EXPECT_EQ(top_k(std::vector<float>(10, 0.0f), 3), (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(TopK, EqualsASortOnValuesWithManyTies) {
  RandomStream random(8, "test", "ties");
  for (const std::int64_t n : {1, 2, 100, 5000}) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = static_cast<float>(random.below(21)) - 10;
    std::vector<std::int64_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return std::abs(values[a]) > std::abs(values[b]); });
    for (const std::int64_t k : {std::int64_t{1}, n / 3, n / 2, n - 1, n}) {
      std::vector<std::int64_t> expected(order.begin(), order.begin() + k);
      std::sort(expected.begin(), expected.end());
      EXPECT_EQ(top_k(values, k), expected) << n << ' ' << k;
    }
  }
}

TEST(TopK, InfinityAndNanHaveTheirPlace) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {1, -infinity, std::nanf(""), 2, -0.0f, 1e-45f, 0};
  EXPECT_EQ(top_k(values, 1), (std::vector<std::int64_t>{2}));
  EXPECT_EQ(top_k(values, 2), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(top_k(values, 5), (std::vector<std::int64_t>{0, 1, 2, 3, 5}));
  EXPECT_EQ(top_k(values, 6), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));  // -0 is 0: lower index
}

TEST(TopK, CountsFollowTheirRule) {
  EXPECT_EQ(count_of(30, 0.1, CountRule::ceil), 3);
  EXPECT_EQ(count_of(25, 0.1, CountRule::floor), 2);
  EXPECT_EQ(count_of(25, 0.1, CountRule::nearest), 2);
  EXPECT_EQ(count_of(35, 0.1, CountRule::nearest), 4);
  EXPECT_EQ(count_of(5, 0.01, CountRule::nearest), 1);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.5), 2.5);
}

}  // namespace
}  // namespace laconic
