// A training task whose examples are spread over workers, as distributed algorithms ask for it:
//
//   F_m(x) = gradient of the mean loss over a minibatch of worker m, or over all of its examples
//
// With an attack on the inputs (input_attack.h) it is the operator of the saddle point min_x max_delta, whose
// inner maximum every worker finds by itself: deltas belong to examples and are never sent. Points and
// gradients are f64 here and f32 in the task.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/dataset/partition.h"
#include "methods/gradients/oracle.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

class TaskOracle : public Oracle {
 public:
  // Borrows the task. `batch` examples of a worker are drawn with replacement for every sample; all_samples:
  // all of its examples, in order.
  TaskOracle(const TrainingTask& task, Partition examples, std::int64_t batch, std::uint64_t seed);

  std::size_t dimension() const override { return dimension_; }
  int workers() const override { return static_cast<int>(examples_.size()); }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override;

 private:
  std::size_t dimension_;
  Partition examples_;
  std::int64_t batch_;
  std::uint64_t seed_;
  std::vector<std::unique_ptr<TrainingReplica>> replicas_;  // by worker
};

}  // namespace laconic
