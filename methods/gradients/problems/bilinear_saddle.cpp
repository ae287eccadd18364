#include "methods/gradients/problems/bilinear_saddle.h"

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

// Of lambda I + J A with J A antisymmetric: sqrt(lambda^2 + |A|^2).
double lipschitz_of(double lambda, std::vector<double> matrix, std::size_t n) {
  const auto side = static_cast<std::int64_t>(n);
  return std::hypot(lambda, exact_svd64(std::move(matrix), side, side).values.front());
}

}  // namespace

BilinearSaddle::BilinearSaddle(std::size_t half, int devices, double lambda, std::uint64_t seed)
    : half_(half), devices_(devices), lambda_(lambda) {
  require(half > 0 && devices > 0 && lambda > 0, "a saddle has numbers, devices and a curvature");
  const std::size_t n = half, square = n * n;
  const RandomStream of_matrix(seed, "bilinear saddle", "A"), of_linear(seed, "bilinear saddle", "a b");
  std::vector<double> mean(square), mean_linear(2 * n);
  double sum_of_squares = 0;
  for (std::size_t m = 0; m < static_cast<std::size_t>(devices); ++m) {
    for (std::size_t e = 0; e < square; ++e) {
      matrices_.push_back(static_cast<double>(of_matrix.gaussian_at(m * square + e)));
      mean[e] += matrices_.back() / devices;
    }
    const double* a = matrices_.data() + m * square;
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = 0; i < n; ++i) transposed_.push_back(a[i * n + j]);
    }
    for (std::size_t j = 0; j < 2 * n; ++j) {
      linear_.push_back(10 * static_cast<double>(of_linear.gaussian_at(m * 2 * n + j)) * (j < n ? 1 : -1));
      mean_linear[j] += linear_.back() / devices;
    }
    const double own = lipschitz_of(lambda, {a, a + square}, n);
    sum_of_squares += own * own;
  }
  lipschitz_ = lipschitz_of(lambda, mean, n);
  mean_lipschitz_ = std::sqrt(sum_of_squares / devices);
  // F(z) = 0: x = -(A y + a) / lambda, and (lambda^2 I + A^T A) y = -lambda l_y - A^T a, l_y = -b.
  std::vector<double> normal(square), y(n), x(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      double sum = i == j ? lambda * lambda : 0;
      for (std::size_t k = 0; k < n; ++k) sum += mean[k * n + i] * mean[k * n + j];
      normal[i * n + j] = sum;
    }
    y[i] = -lambda * mean_linear[n + i];
    for (std::size_t k = 0; k < n; ++k) y[i] -= mean[k * n + i] * mean_linear[k];
  }
  require(solve_symmetric(normal.data(), y.data(), static_cast<std::int64_t>(n)),
          "a strongly monotone operator has a zero");
  for (std::size_t i = 0; i < n; ++i) {
    double sum = mean_linear[i];
    for (std::size_t j = 0; j < n; ++j) sum += mean[i * n + j] * y[j];
    x[i] = -sum / lambda;
  }
  solution_ = std::move(x);
  solution_.insert(solution_.end(), y.begin(), y.end());
}

void BilinearSaddle::evaluate(std::span<const double> point, int worker, std::uint64_t /*sample*/,
                              std::span<double> vector) const {
  const std::size_t n = half_, m = static_cast<std::size_t>(worker);
  const double* a = matrices_.data() + m * n * n;
  const double* t = transposed_.data() + m * n * n;
  const double* linear = linear_.data() + m * 2 * n;
  const double *x = point.data(), *y = x + n;
  // Columns at a time, so that sums run along the vector.
  for (std::size_t i = 0; i < n; ++i) {
    vector[i] = linear[i] + lambda_ * x[i];
    vector[n + i] = linear[n + i] + lambda_ * y[i];
  }
  for (std::size_t k = 0; k < n; ++k) {
    const double along_y = y[k], along_x = x[k];
    const double *column = t + k * n, *row = a + k * n;
    for (std::size_t i = 0; i < n; ++i) {
      vector[i] += along_y * column[i];
      vector[n + i] -= along_x * row[i];
    }
  }
}

double BilinearSaddle::distance(std::span<const double> point) const {
  double difference = 0, whole = 0;
  for (std::size_t j = 0; j < solution_.size(); ++j) {
    difference += (point[j] - solution_[j]) * (point[j] - solution_[j]);
    whole += solution_[j] * solution_[j];
  }
  return difference / whole;
}

}  // namespace laconic
