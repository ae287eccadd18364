// Losses of a linear model over sparse rows a_i with targets y_i, no intercept:
//
//   f(x) = mean_i loss(a_i . x, y_i) + r(x)
//   logistic   log(1 + exp(-y a . x)), y = -1 or +1;   squares   1/2 (a . x - y)^2
//   r: l2      lambda/2 |x|^2;                         saturating   lambda sum_j x_j^2 / (1 + x_j^2)
//
// Smoothness: L <= c lambda_max(A^T A / n) + (lambda, or 2 lambda), c = 1/4 for logistic and 1 for squares;
// lambda_max by power iteration to 1e-6, times 1.001. Source: Richtarik et al., arXiv 2402.10774.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/dataset/libsvm.h"

namespace laconic {

enum class LinearLoss { logistic, squares };
enum class Regulariser { l2, saturating };

class LinearModel {
 public:
  // Borrows the rows. Throws Error(input) on more than two classes for the logistic loss.
  LinearModel(const SparseExamples& rows, LinearLoss loss, Regulariser regulariser, double strength,
              std::string_view where);

  std::size_t dimension() const { return static_cast<std::size_t>(rows_->columns); }
  std::int64_t examples() const { return rows_->rows(); }
  const std::vector<float>& targets() const { return targets_; }
  LinearLoss loss() const { return loss_; }

  // f over the examples and its gradient, summed in double precision in the order given. No examples: r
  // alone.
  template <class Real>
  double gradient(std::span<const Real> point, std::span<const std::int64_t> examples,
                  std::span<double> gradient) const;
  // The same with the gradient rounded to f32; `sums` is room for it.
  double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                  std::span<float> gradient, std::vector<double>& sums) const;
  // The gradient alone, the same bits, for loops that never ask for the value.
  template <class Real>
  void gradient_only(std::span<const Real> point, std::span<const std::int64_t> examples,
                     std::span<double> gradient) const;

  // Loss of one example, without the regulariser.
  struct Outcome {
    double loss = 0;
    bool right = false;  // of its class
  };
  template <class Real>
  Outcome outcome(std::span<const Real> point, std::int64_t example) const;

  // L of f over the examples.
  double smoothness(std::span<const std::int64_t> examples) const;
  // L of sum_k weights[k] loss(example k) + r: of a mean over workers with rows of different weight.
  double smoothness(std::span<const std::int64_t> examples, std::span<const double> weights) const;

 private:
  template <bool with_value, class Real>
  double differentiate(std::span<const Real> point, std::span<const std::int64_t> examples,
                       std::span<double> gradient) const;

  const SparseExamples* rows_;
  std::vector<float> targets_;
  LinearLoss loss_;
  Regulariser regulariser_;
  double strength_;
};

}  // namespace laconic
