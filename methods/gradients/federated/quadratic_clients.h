// Clients that pull apart, with the answer known: f_i(x) = 1/2 x^T H_i x - b_i^T x with diagonal H_i of
// entries 10^-u, u uniform on [0, 1], and b_i = H_i t_i with t_i of entries 1 + 3 z, z standard normal (card
// 01, part a). A gradient carries noise of a given standard deviation in every coordinate. Its samples come
// in pairs of opposite noise, so that the minimum of the whole stays where it is.
#pragma once

#include "methods/gradients/training/training_task.h"

namespace laconic {

struct QuadraticSettings {
  int clients = 50;
  std::size_t dimension = 100;
  double noise = 0;
  std::uint64_t seed = 0;
};

class QuadraticClients final : public TrainingTask {
 public:
  explicit QuadraticClients(const QuadraticSettings& settings);

  std::string text() const override;
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const override;  // zero
  std::int64_t examples() const override { return settings_.clients * samples_; }
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  // gradient(): all examples of a call belong to one client. evaluate(): `loss` is (f(x) - f*) / (f(0) - f*).
  std::unique_ptr<TrainingReplica> replica() const override;

  // Whose examples are whose.
  std::vector<std::vector<std::int64_t>> examples_of() const;
  double relative_gap(std::span<const float> point) const;

 private:
  class Replica;
  QuadraticSettings settings_;
  std::int64_t samples_;
  std::vector<TensorSlice> tensors_;
  std::vector<std::int32_t> labels_;           // none
  std::vector<double> curvature_, target_;     // [clients][dimension]: H_i, t_i
  std::vector<double> mean_curvature_, best_;  // of f
  double gap_at_zero_ = 0;
};

}  // namespace laconic
