#include "methods/gradients/problems/rank_one_quadratics.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/linear_algebra.h"

namespace laconic {

RankOneQuadratics::RankOneQuadratics(std::size_t dimension, int workers, double spread, std::uint64_t seed)
    : dimension_(dimension) {
  require(dimension > 0 && workers > 0, "a problem has numbers and workers");
  const std::size_t d = dimension;
  const RandomStream of_direction(seed, "rank-one quadratics", "u"),
      of_target(seed, "rank-one quadratics", "y"), of_curvature(seed, "rank-one quadratics", "L");
  hessian_.assign(d * d, 0.0);
  linear_.assign(d, 0.0);
  for (std::size_t i = 0; i < static_cast<std::size_t>(workers); ++i) {
    double square = 0;
    for (std::size_t j = 0; j < d; ++j) {
      directions_.push_back(static_cast<double>(of_direction.gaussian_at(i * d + j)));
      square += directions_.back() * directions_.back();
    }
    double* u = directions_.data() + i * d;
    for (std::size_t j = 0; j < d; ++j) u[j] /= std::sqrt(square);
    targets_.push_back(static_cast<double>(of_target.gaussian_at(i)));
    curvatures_.push_back(std::exp(spread * static_cast<double>(of_curvature.gaussian_at(i))));
    const double share = curvatures_.back() / workers;
    for (std::size_t j = 0; j < d; ++j) {
      linear_[j] += share * targets_.back() * u[j];
      for (std::size_t k = 0; k < d; ++k) hessian_[j * d + k] += share * u[j] * u[k];
    }
  }
  smoothness_ = symmetric_eigen(hessian_, static_cast<std::int64_t>(d)).values.front();
  optimum_ = linear_;
  require(solve_symmetric(hessian_.data(), optimum_.data(), static_cast<std::int64_t>(d)),
          "a least-squares problem has a solution");
}

void RankOneQuadratics::evaluate(std::span<const double> point, int worker, std::uint64_t /*sample*/,
                                 std::span<double> gradient) const {
  const auto index = static_cast<std::size_t>(worker);
  const double* u = directions_.data() + index * dimension_;
  double residual = -targets_[index];
  for (std::size_t j = 0; j < dimension_; ++j) residual += u[j] * point[j];
  residual *= curvatures_[index];
  for (std::size_t j = 0; j < dimension_; ++j) gradient[j] = residual * u[j];
}

double RankOneQuadratics::squared_gradient(std::span<const double> point) const {
  double square = 0;
  for (std::size_t j = 0; j < dimension_; ++j) {
    double sum = -linear_[j];
    for (std::size_t k = 0; k < dimension_; ++k) sum += hessian_[j * dimension_ + k] * point[k];
    square += sum * sum;
  }
  return square;
}

double RankOneQuadratics::gap(std::span<const double> point) const {
  double twice = 0;
  for (std::size_t j = 0; j < dimension_; ++j) {
    double sum = 0;
    for (std::size_t k = 0; k < dimension_; ++k)
      sum += hessian_[j * dimension_ + k] * (point[k] - optimum_[k]);
    twice += sum * (point[j] - optimum_[j]);
  }
  return twice / 2;
}

}  // namespace laconic
