// Logistic regression whose rows are dealt to clients (cards 03 and 04), in f64:
//
//   f_i(x) = mean over rows (a, y) of client i of log(1 + exp(-y a^T x)) + regulariser(x),   y = -1 or 1
//   squared      lambda / 2 |x|^2
//   non-convex   lambda sum_j x_j^2 / (1 + x_j^2), curvature at most 2 lambda
//
// Smoothness: L_i = lambda_max(A_i^T A_i) / (4 n_i) + lambda (or 2 lambda), by power iteration to 1e-6, times
// 1.001; L the same of the mean over clients.
#pragma once

#include <string>
#include <vector>

#include "engine/dataset/libsvm.h"
#include "methods/gradients/problems/smooth_problem.h"

namespace laconic {

struct LogisticClientsSettings {
  enum class Regulariser { squared, non_convex } regulariser = Regulariser::squared;
  double lambda = 1e-3;
  int clients = 10;
  enum class Deal { label, norm } deal = Deal::label;  // rows sorted by it, then cut in equal runs
  std::int64_t batch = 0;                              // rows per evaluation, drawn anew; 0: all
  std::uint64_t seed = 0;                              // of the draws
};

class LogisticClients : public SmoothProblem {
 public:
  // Labels as sign_labels() gives them. Throws Error(usage) when there are fewer rows than clients.
  LogisticClients(const SparseExamples& examples, const std::vector<float>& labels,
                  const LogisticClientsSettings& settings);

  std::size_t dimension() const override { return dimension_; }
  int workers() const override { return settings_.clients; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> gradient) const override;
  // Computed on first need; not while others ask.
  double smoothness() const override;
  const std::vector<double>& worker_smoothness() const override;
  double squared_gradient(std::span<const double> point) const override;

  double value(std::span<const double> point) const;  // f
  // The minimum by Newton's method, for the convex regulariser: gradient to 1e-12.
  std::vector<double> minimum() const;

 private:
  std::size_t first_row(int client) const;
  void add_row(std::span<const double> point, std::size_t row, double share,
               std::span<double> gradient) const;
  void add_regulariser(std::span<const double> point, std::span<double> gradient) const;
  double smoothness_of(std::size_t first_client, std::size_t last_client) const;

  LogisticClientsSettings settings_;
  std::size_t dimension_ = 0;
  std::vector<std::size_t> row_start_{0};  // of the rows in their new order, labels multiplied in
  std::vector<std::uint32_t> column_;
  std::vector<float> value_;
  std::uint64_t draw_key_ = 0;
  mutable double smoothness_ = 0;
  mutable std::vector<double> worker_smoothness_;
};

}  // namespace laconic
