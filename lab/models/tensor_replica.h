// A replica whose network is LibTorch's: one thread inside, gradients only where they are asked for, and
// errors of LibTorch as laconic::Error. A network says what its mean loss is and what held-out examples add.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lab/models/flat_parameters.h"
#include "methods/gradients/training/training_task.h"

namespace laconic::lab {

struct HeldOutSums {
  double loss = 0;
  std::int64_t count = 0;             // what the loss is divided by
  std::optional<std::int64_t> right;  // of classifiers
  std::optional<std::int64_t> right_without_attack = {};
};

class TensorReplica : public TrainingReplica {
 public:
  double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                  std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) final;
  Evaluation evaluate(std::span<const float> point, std::int64_t limit) final;

 protected:
  // Of `held_out` examples, `tile` are evaluated at once.
  TensorReplica(const std::vector<TensorSlice>& tensors, std::int64_t held_out, std::int64_t tile)
      : parameters_(tensors), held_out_(held_out), tile_(tile) {}

  // At the point, in the order of the slices.
  const std::vector<at::Tensor>& tensors() const { return parameters_.tensors(); }
  // Over training examples, at least one.
  virtual at::Tensor mean_loss(std::span<const std::int64_t> examples) = 0;
  virtual HeldOutSums held_out_sums(std::span<const std::int64_t> examples) = 0;

 private:
  FlatParameters parameters_;
  std::int64_t held_out_, tile_;
};

}  // namespace laconic::lab
