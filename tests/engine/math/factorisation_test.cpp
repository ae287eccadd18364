// Factorisations over fixed panels and the products they stand on.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

std::vector<double> gaussian(std::int64_t count, std::string_view name) {
  const RandomStream random(7, "test", name);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

// X^T X / m + small diagonal: positive definite and far from diagonal.
std::vector<double> random_moment(std::int64_t n, std::string_view name) {
  const std::int64_t m = 2 * n + 3;
  const auto x = gaussian(m * n, name);
  std::vector<double> h(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t t = 0; t < m; ++t) {
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j)
        h[i * n + j] += x[t * n + i] * x[t * n + j] / static_cast<double>(m);
    }
  }
  return h;
}

TEST(Blas, ProductsEqualTheDefinitionInEveryForm) {
  const std::int64_t m = 5, n = 7, k = 3;
  const auto a = gaussian(m * k, "a"), b = gaussian(k * n, "b");
  for (int form = 0; form < 4; ++form) {
    const bool ta = form & 1, tb = form & 2;
    std::vector<double> c(m * n, 1.0);
    gemm(ta ? Transpose::yes : Transpose::no, tb ? Transpose::yes : Transpose::no, m, n, k, 2.0, a.data(),
         ta ? m : k, b.data(), tb ? k : n, 3.0, c.data(), n);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::int64_t t = 0; t < k; ++t)
          sum += (ta ? a[t * m + i] : a[i * k + t]) * (tb ? b[j * k + t] : b[t * n + j]);
        EXPECT_NEAR(c[i * n + j], 2 * sum + 3, 1e-12);
      }
    }
  }
}

TEST(Cholesky, HandComputed) {
  std::vector<double> h = {4, -99, 2, 5};  // the upper triangle is not read
  ASSERT_TRUE(cholesky(h.data(), 2));
  EXPECT_EQ(h, (std::vector<double>{2, 0, 1, 2}));
  std::vector<double> indefinite = {1, 2, 2, 1};
  EXPECT_FALSE(cholesky(indefinite.data(), 2));
  std::vector<double> nan = {std::nan(""), 0, 0, 1};
  EXPECT_FALSE(cholesky(nan.data(), 2));
}

TEST(Cholesky, BlockedFactorMultipliesBack) {
  for (const std::int64_t n : {1, 7, 192, 193, 450}) {
    const auto h = random_moment(n, "chol");
    auto l = h;
    ASSERT_TRUE(cholesky(l.data(), n));
    for (std::int64_t i = 0; i < n; i += 13) {
      for (std::int64_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k <= j; ++k) sum += l[i * n + k] * l[j * n + k];
        ASSERT_NEAR(sum, h[i * n + j], 1e-12 * static_cast<double>(n));
      }
    }
  }
}

TEST(InverseFactor, UpperTransposedTimesUpperTimesHIsIdentity) {
  for (const std::int64_t n : {1, 2, 6, 200, 400}) {
    const auto h = random_moment(n, "inverse");
    auto u = h;
    ASSERT_TRUE(inverse_cholesky_upper(u.data(), n));
    for (std::int64_t i = 0; i < n; ++i) {
      EXPECT_GT(u[i * n + i], 0);
      for (std::int64_t j = 0; j < i; ++j) ASSERT_EQ(u[i * n + j], 0);
    }
    std::vector<double> inverse(n * n), product(n * n);
    gemm(Transpose::yes, Transpose::no, n, n, n, 1.0, u.data(), n, u.data(), n, 0.0, inverse.data(), n);
    gemm(Transpose::no, Transpose::no, n, n, n, 1.0, inverse.data(), n, h.data(), n, 0.0, product.data(), n);
    for (std::int64_t i = 0; i < n * n; ++i) ASSERT_NEAR(product[i], i % (n + 1) == 0 ? 1.0 : 0.0, 1e-9);
  }
}

TEST(InverseFactor, DampingEscalatesAndThenRefuses) {
  // Rank one is singular; the slightly indefinite one needs more damping than the first level gives.
  EXPECT_EQ(inverse_factor({1, 1, 1, 1}, 2, 0.01, "h").damping, 0.01);
  EXPECT_NEAR(inverse_factor({1, 1.05, 1.05, 1}, 2, 0.01, "h").damping, 0.1, 1e-15);
  EXPECT_THROW(inverse_factor({1, 100, 100, 1}, 2, 0.01, "h"), Error);
}

TEST(InverseFactor, DeadInputsDoNotSetTheUnitOfDamping) {
  // Live diagonal 1e-8: damping of 1 % must be 1e-10, whatever the dead one becomes.
  const InverseFactor factor = inverse_factor({1e-8, 0, 0, 0}, 2, 0.01, "h");
  EXPECT_NEAR(factor.upper[0], 1 / std::sqrt(1.01e-8), 1e-3);
}

TEST(InverseFactor, SameBitsAtAnyThreadCount) {
  const std::int64_t n = 500;
  const auto h = random_moment(n, "threads");
  auto one = h, two = h;
  set_thread_count(1);
  ASSERT_TRUE(inverse_cholesky_upper(one.data(), n));
  set_thread_count(2);
  ASSERT_TRUE(inverse_cholesky_upper(two.data(), n));
  set_thread_count(0);
  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace laconic
