#include "engine/math/cayley.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/random.h"
#include "engine/math/linear_algebra.h"
#include "engine/tensor/dtype.h"

namespace laconic {
namespace {

std::vector<double> random_square(std::int64_t n, std::uint64_t seed, double scale) {
  RandomStream random(seed, "test", "cayley");
  std::vector<double> x(static_cast<std::size_t>(n * n));
  for (double& value : x) value = scale * static_cast<double>(random.gaussian());
  return x;
}

// A random orthogonal matrix: the eigenvectors of a random symmetric one.
std::vector<double> random_orthogonal(std::int64_t n, std::uint64_t seed) {
  std::vector<double> a = random_square(n, seed, 1), symmetric(a.size());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j)
      symmetric[static_cast<std::size_t>(i * n + j)] =
          a[static_cast<std::size_t>(i * n + j)] + a[static_cast<std::size_t>(j * n + i)];
  }
  return symmetric_eigen(symmetric, n).vectors;
}

double distance_from_orthogonal(const std::vector<double>& u, std::int64_t n) {
  double worst = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = i == j ? -1 : 0;
      for (std::int64_t k = 0; k < n; ++k)
        sum += u[static_cast<std::size_t>(k * n + i)] * u[static_cast<std::size_t>(k * n + j)];
      worst = std::max(worst, std::abs(sum));
    }
  }
  return worst;
}

// Worked example of card 62.
TEST(Cayley, TurnsByTheAngleOfTheExample) {
  const std::vector<double> x = {0, 0, 1, 0};
  const std::vector<double> u = cayley(x, 2);
  const std::vector<double> expected = {0.6, -0.8, 0.8, 0.6};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(u[i], expected[i], 1e-15);
  const auto back = cayley_inverse(u, 2);
  ASSERT_TRUE(back.has_value());
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR((*back)[i], x[i], 1e-15);
}

TEST(Cayley, GivesOrthogonalMatricesForAnyX) {
  for (const std::int64_t n : {1, 2, 7, 64, 128}) {
    for (const double scale : {1e-3, 1.0, 100.0})
      EXPECT_LE(distance_from_orthogonal(cayley(random_square(n, 3, scale), n), n), 1e-12) << n << scale;
  }
}

TEST(Cayley, GoesThereAndBack) {
  for (const std::int64_t n : {2, 5, 16, 64}) {
    std::vector<double> u = random_orthogonal(n, static_cast<std::uint64_t>(n));
    choose_cayley_signs(u, n);
    const auto x = cayley_inverse(u, n);
    ASSERT_TRUE(x.has_value()) << n;
    const std::vector<double> again = cayley(*x, n);
    for (std::size_t i = 0; i < u.size(); ++i) ASSERT_NEAR(again[i], u[i], 1e-8) << n;
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = i; j < n; ++j) EXPECT_EQ((*x)[static_cast<std::size_t>(i * n + j)], 0);
    }
  }
}

TEST(Cayley, SignsChangeOnlyWhereTheyMust) {
  std::vector<double> good = {0.6, -0.8, 0.8, 0.6};
  choose_cayley_signs(good, 2);
  EXPECT_EQ(good, (std::vector<double>{0.6, -0.8, 0.8, 0.6}));
  // Determinant -1: column 0.
  std::vector<double> mirrored = {-0.6, -0.8, -0.8, 0.6};
  choose_cayley_signs(mirrored, 2);
  EXPECT_EQ(mirrored, (std::vector<double>{0.6, -0.8, 0.8, 0.6}));
}

TEST(Cayley, EigenvaluesOfMinusOneAreTurnedAway) {
  const std::int64_t n = 6;
  std::vector<double> u(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) u[static_cast<std::size_t>(i * n + i)] = -1;
  EXPECT_FALSE(cayley_inverse(u, n).has_value());
  choose_cayley_signs(u, n);
  ASSERT_TRUE(cayley_inverse(u, n).has_value());
  for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(u[static_cast<std::size_t>(i * n + i)], 1);

  // A half turn in one plane, hidden by a change of basis.
  const std::vector<double> q = random_orthogonal(n, 5);
  std::vector<double> hidden(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t k = 0; k < n; ++k)
        hidden[static_cast<std::size_t>(i * n + j)] += (k < 2 ? -1.0 : 1.0) *
                                                       q[static_cast<std::size_t>(i * n + k)] *
                                                       q[static_cast<std::size_t>(j * n + k)];
    }
  }
  EXPECT_FALSE(cayley_inverse(hidden, n).has_value());
  choose_cayley_signs(hidden, n);
  const auto x = cayley_inverse(hidden, n);
  ASSERT_TRUE(x.has_value());
  for (const double value : *x) EXPECT_LE(std::abs(value), 2.001);
}

// O'Dorney's bound, and what it is for: an X rounded to f16 still has the same columns, up to their signs.
TEST(Cayley, ChosenSignsKeepEntriesSmall) {
  for (const std::int64_t n : {2, 3, 8, 64}) {
    for (std::uint64_t seed = 10; seed < 14; ++seed) {
      const std::vector<double> drawn = random_orthogonal(n, seed);
      std::vector<double> u = drawn;
      choose_cayley_signs(u, n);
      const auto x = cayley_inverse(u, n);
      ASSERT_TRUE(x.has_value());
      std::vector<double> rounded;
      for (const double value : *x) {
        EXPECT_LE(std::abs(value), 2.001) << n;
        rounded.push_back(static_cast<double>(rounded_to(DType::f16, static_cast<float>(value))));
      }
      const std::vector<double> again = cayley(rounded, n);
      for (std::size_t i = 0; i < u.size(); ++i) {
        EXPECT_EQ(std::abs(u[i]), std::abs(drawn[i]));
        EXPECT_NEAR(again[i], u[i], 5e-3) << n;
      }
    }
  }
}

}  // namespace
}  // namespace laconic
