// A linear model whose rows are spread over workers, as distributed algorithms ask for it:
//
//   f = 1/n sum_i f_i,   f_i = mean loss over the rows of worker i + r
//
// A worker without rows has f_i = r.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/dataset/partition.h"
#include "methods/gradients/oracle.h"
#include "methods/gradients/tasks/linear_model.h"

namespace laconic {

class ConvexOracle : public Oracle {
 public:
  // `batch` rows of a worker are drawn with replacement for every evaluation; 0, and
  // for all_samples: all of them, in order.
  ConvexOracle(LinearModel model, Partition rows, std::int64_t batch = 0, std::uint64_t seed = 0);

  std::size_t dimension() const override { return model_.dimension(); }
  int workers() const override { return static_cast<int>(rows_.size()); }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override;

  // f and its gradient over all rows, whatever `batch`.
  double value(std::span<const double> point) const;
  double full_gradient(std::span<const double> point, std::span<double> gradient) const;

  double smoothness_of(int worker) const;      // L_i
  std::vector<double> all_smoothness() const;  // every L_i
  double smoothness() const;                   // L of f

  const LinearModel& model() const { return model_; }
  const std::vector<std::int64_t>& rows_of(int worker) const {
    return rows_[static_cast<std::size_t>(worker)];
  }

 private:
  LinearModel model_;
  Partition rows_;
  std::int64_t batch_;
  std::uint64_t seed_;
};

// Rows of a set sorted by their l2 norm and cut into equal runs: workers that differ in smoothness.
Partition partition_by_row_norm(const SparseExamples& rows, int workers);

}  // namespace laconic
