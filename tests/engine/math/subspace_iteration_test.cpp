#include "engine/math/subspace_iteration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/random.h"
#include "engine/math/svd.h"

namespace laconic {
namespace {

std::vector<float> random_matrix(std::int64_t count, std::string_view name) {
  const RandomStream random(5, "test", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

// ||A - Q P^T||_F in double.
double error_of(const std::vector<float>& a, std::int64_t rows, std::int64_t columns,
                const SubspaceFactors& factors) {
  double square = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      double left = static_cast<double>(a[static_cast<std::size_t>(i * columns + j)]);
      for (std::int64_t k = 0; k < factors.rank; ++k)
        left -= static_cast<double>(factors.q[static_cast<std::size_t>(i * factors.rank + k)]) *
                static_cast<double>(factors.p[static_cast<std::size_t>(j * factors.rank + k)]);
      square += left * left;
    }
  }
  return std::sqrt(square);
}

double tail_of(const std::vector<float>& a, std::int64_t rows, std::int64_t columns, std::int64_t rank) {
  const Svd svd = exact_svd(a.data(), rows, columns);
  double square = 0;
  for (std::size_t i = static_cast<std::size_t>(rank); i < svd.values.size(); ++i)
    square += static_cast<double>(svd.values[i]) * static_cast<double>(svd.values[i]);
  return std::sqrt(square);
}

TEST(SubspaceIteration, GivesAnOrthonormalBasisAndItsProjection) {
  const std::int64_t rows = 40, columns = 12, rank = 3;
  const std::vector<float> a = random_matrix(rows * columns, "a");
  const SubspaceFactors factors =
      subspace_iteration(a, rows, columns, random_matrix(columns * rank, "start"), rank, 3);
  for (std::int64_t k = 0; k < rank; ++k) {
    for (std::int64_t l = 0; l < rank; ++l) {
      double product = 0;
      for (std::int64_t i = 0; i < rows; ++i)
        product += static_cast<double>(factors.q[static_cast<std::size_t>(i * rank + k)]) *
                   static_cast<double>(factors.q[static_cast<std::size_t>(i * rank + l)]);
      EXPECT_NEAR(product, k == l ? 1 : 0, 1e-6);
    }
    for (std::int64_t j = 0; j < columns; ++j) {
      double product = 0;
      for (std::int64_t i = 0; i < rows; ++i)
        product += static_cast<double>(a[static_cast<std::size_t>(i * columns + j)]) *
                   static_cast<double>(factors.q[static_cast<std::size_t>(i * rank + k)]);
      EXPECT_NEAR(factors.p[static_cast<std::size_t>(j * rank + k)], product, 1e-5);
    }
  }
}

TEST(SubspaceIteration, NearsTheBestProductWithEveryLoop) {
  const std::int64_t rows = 60, columns = 24;
  std::vector<float> a = random_matrix(rows * columns, "decaying");
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j)
      a[static_cast<std::size_t>(i * columns + j)] *= std::pow(0.8f, static_cast<float>(j));
  }
  for (const std::int64_t rank : {1, 2, 4}) {
    const std::vector<float> start = random_matrix(columns * rank, "start");
    const double best = tail_of(a, rows, columns, rank);
    double before = 1e30;
    for (const int loops : {1, 2, 3, 8}) {
      const double error =
          error_of(a, rows, columns, subspace_iteration(a, rows, columns, start, rank, loops));
      EXPECT_GE(error, best * (1 - 1e-5));
      EXPECT_LE(error, before * (1 + 1e-5));
      before = error;
    }
    EXPECT_LE(before, 1.01 * best);
  }
}

TEST(SubspaceIteration, KeepsWhatAPoorMatrixHasAndZerosElse) {
  const std::int64_t rows = 9, columns = 7, rank = 3;
  std::vector<float> a(static_cast<std::size_t>(rows * columns));
  const std::vector<float> start = random_matrix(columns * rank, "start");
  for (const float x : subspace_iteration(a, rows, columns, start, rank, 3).q) EXPECT_EQ(x, 0);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j)
      a[static_cast<std::size_t>(i * columns + j)] = static_cast<float>((i + 1) * (j - 3));
  }
  const SubspaceFactors factors = subspace_iteration(a, rows, columns, start, rank, 3);
  for (const float x : factors.p) EXPECT_TRUE(std::isfinite(x));
  EXPECT_LT(error_of(a, rows, columns, factors), 1e-4);
  EXPECT_TRUE(subspace_iteration(a, rows, columns, {}, 0, 3).q.empty());
}

// The residual of the worked example of GEAR's card: codes of a 4 x 4 matrix in 2 bits per column.
TEST(SubspaceIteration, FindsTheDirectionOfTheWorkedExample) {
  const std::vector<float> x = {1.3f, 10.9f, 2.7f,  -2.8f, 1.2f, 2.7f,  2.2f,  -1.3f,
                                -.5f, -2.8f, -9.5f, -1.7f, -.7f, -1.0f, -2.8f, 2.5f};
  const int codes[16] = {3, 3, 3, 0, 3, 1, 3, 1, 0, 0, 0, 1, 0, 0, 2, 3};
  std::vector<float> residual(16);
  for (int j = 0; j < 4; ++j) {
    float low = x[static_cast<std::size_t>(j)], high = low;
    for (int i = 1; i < 4; ++i) {
      low = std::min(low, x[static_cast<std::size_t>(4 * i + j)]);
      high = std::max(high, x[static_cast<std::size_t>(4 * i + j)]);
    }
    for (int i = 0; i < 4; ++i) {
      const auto at = static_cast<std::size_t>(4 * i + j);
      residual[at] = x[at] - (low + static_cast<float>(codes[at]) * (high - low) / 3);
    }
  }
  EXPECT_NEAR(tail_of(residual, 4, 4, 0), 2.6422, 5e-5);
  const Svd svd = exact_svd(residual.data(), 4, 4);
  EXPECT_NEAR(svd.values[0], 2.5299, 5e-5);
  EXPECT_NEAR(svd.values[1], 0.7287, 5e-5);
  EXPECT_NEAR(svd.values[2], 0.2230, 5e-5);
  EXPECT_NEAR(svd.values[3], 0, 5e-5);
  const SubspaceFactors factors = subspace_iteration(residual, 4, 4, {1, 1, 1, 1}, 1, 3);
  EXPECT_NEAR(error_of(residual, 4, 4, factors), 0.76240, 5e-6);
  EXPECT_NEAR(tail_of(residual, 4, 4, 1), 0.76207, 5e-6);
}

}  // namespace
}  // namespace laconic
