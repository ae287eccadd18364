// Logistic regression against a perturbation of its inputs, as a saddle point (card 08):
//
//   min_w max_{|delta| <= r} (1/M) sum_m mean over rows (a, y) of device m of log(1 + exp(-y w^T (a +
//   delta)))
//                            + lambda/2 |w|^2 - beta/2 |delta|^2,         z = (w, delta), F = (grad_w,
//                            -grad_delta)
//
// One perturbation is shared by all rows, so that it is something that devices must agree on: with one per
// row the inner problem has a closed form and sends nothing. Concave in delta while |w|^2 < 4 beta.
// Rows are sorted by label and cut in equal runs.
#pragma once

#include <vector>

#include "engine/dataset/libsvm.h"
#include "methods/gradients/oracle.h"

namespace laconic {

struct RobustLogisticSettings {
  int devices = 10;
  double lambda = 0.05, beta = 1, radius = 1;
};

class RobustLogistic : public Oracle {
 public:
  // Labels as sign_labels() gives them. Throws Error(usage) when there are fewer rows than devices.
  RobustLogistic(const SparseExamples& examples, const std::vector<float>& labels,
                 const RobustLogisticSettings& settings);

  std::size_t dimension() const override { return 2 * columns_; }
  int workers() const override { return settings_.devices; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override;
  void project(std::span<double> point) const;  // delta into its ball
  // The saddle point by projected extragradient, until a step of it moves z by less than 1e-13 of itself.
  std::vector<double> solve(double step) const;
  // An upper bound of the Lipschitz constant of F near the solution, by the rows' norms.
  double lipschitz() const { return lipschitz_; }

 private:
  std::size_t first_row(int device) const;
  void mean_operator(std::span<const double> point, std::span<double> vector) const;

  RobustLogisticSettings settings_;
  std::size_t columns_ = 0;
  std::vector<std::size_t> row_start_{0};
  std::vector<std::uint32_t> column_;
  std::vector<float> value_, label_;  // in their new order
  double lipschitz_ = 0;
};

}  // namespace laconic
