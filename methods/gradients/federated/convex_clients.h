// Logistic regression as a federated task whose answer is known: rows sorted by label and cut in equal runs,
// so that most clients have one class (card 01, part c).
//
//   f(x) = 1/N sum_i f_i,   f_i = mean over the rows of client i of log(1 + exp(-y a . x)) + lambda/2 |x|^2
//   evaluate(): `loss` is (f(x) - f*) / (f(0) - f*) over the training rows
//
// f* is found by accelerated descent in f64 when it is first asked for.
#pragma once

#include <mutex>

#include "engine/dataset/libsvm.h"
#include "methods/gradients/problems/logistic_clients.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

class ConvexClients final : public TrainingTask {
 public:
  // `name` stands for the rows in text(). Throws Error(usage) when there are fewer rows than clients.
  ConvexClients(SparseExamples examples, std::string name, int clients, double lambda);
  ConvexClients(const ConvexClients&) = delete;  // the problem borrows the rows
  ConvexClients& operator=(const ConvexClients&) = delete;

  std::string text() const override;
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const override;  // zero
  std::int64_t examples() const override { return rows_.rows(); }
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  std::unique_ptr<TrainingReplica> replica() const override;

  // Whose rows are whose.
  const std::vector<std::vector<std::int64_t>>& examples_of() const { return examples_of_; }
  double relative_gap(std::span<const float> point) const;

 private:
  class Replica;
  SparseExamples rows_;
  std::string name_;
  LogisticClientsSettings settings_;
  LogisticClients problem_;
  LinearModel model_;
  std::vector<TensorSlice> tensors_;
  std::vector<std::int32_t> labels_;
  std::vector<std::vector<std::int64_t>> examples_of_;
  mutable std::once_flag found_;
  mutable double least_ = 0, gap_at_zero_ = 0;
};

}  // namespace laconic
