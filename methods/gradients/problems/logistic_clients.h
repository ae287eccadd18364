// Logistic regression whose rows are dealt to clients (cards 03 and 04): a ConvexOracle that knows its
// smoothness, and its minimum where it is convex.
#pragma once

#include <vector>

#include "methods/gradients/problems/smooth_problem.h"
#include "methods/gradients/tasks/convex_oracle.h"

namespace laconic {

struct LogisticClientsSettings {
  Regulariser regulariser = Regulariser::l2;
  double lambda = 1e-3;
  int clients = 10;
  enum class Deal { label, norm } deal = Deal::label;  // rows sorted by it, then cut in equal runs
  std::int64_t batch = 0;                              // rows per evaluation, drawn anew; 0: all
  std::uint64_t seed = 0;                              // of the draws
};

class LogisticClients : public SmoothProblem {
 public:
  // Borrows the rows. Throws Error(usage) when there are fewer of them than clients.
  LogisticClients(const SparseExamples& examples, const LogisticClientsSettings& settings);

  std::size_t dimension() const override { return oracle_.dimension(); }
  int workers() const override { return oracle_.workers(); }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> gradient) const override {
    oracle_.evaluate(point, worker, sample, gradient);
  }
  double smoothness() const override { return smoothness_; }
  const std::vector<double>& worker_smoothness() const override { return worker_smoothness_; }
  double squared_gradient(std::span<const double> point) const override;

  double value(std::span<const double> point) const { return oracle_.value(point); }
  // With the convex regulariser: by Nesterov's accelerated gradient descent, until |grad f|^2 <= 1e-22.
  std::vector<double> minimum() const;

 private:
  LogisticClientsSettings settings_;
  ConvexOracle oracle_;
  double smoothness_;
  std::vector<double> worker_smoothness_;
};

}  // namespace laconic
