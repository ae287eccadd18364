// Linear regression with one equation per worker and a chosen spread of smoothness (Richtarik, Gasanov,
// Burlachenko 2024, section 5; card 04):
//
//   f_i(x) = L_i / 2 (u_i^T x - y_i)^2,   u_i random of length 1,   L_i = exp(s N(0, 1)),   y_i ~ N(0, 1)
#pragma once

#include "methods/gradients/problems/smooth_problem.h"

namespace laconic {

class RankOneQuadratics : public SmoothProblem {
 public:
  RankOneQuadratics(std::size_t dimension, int workers, double spread, std::uint64_t seed);

  std::size_t dimension() const override { return dimension_; }
  int workers() const override { return static_cast<int>(curvatures_.size()); }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> gradient) const override;
  double smoothness() const override { return smoothness_; }
  const std::vector<double>& worker_smoothness() const override { return curvatures_; }
  double squared_gradient(std::span<const double> point) const override;
  // f(x) - f(a minimum).
  double gap(std::span<const double> point) const;

 private:
  std::size_t dimension_;
  std::vector<double> directions_;            // [workers, dimension], u_i
  std::vector<double> targets_, curvatures_;  // y_i, L_i
  std::vector<double> hessian_, linear_;      // grad f = hessian x - linear
  std::vector<double> optimum_;
  double smoothness_ = 0;
};

}  // namespace laconic
