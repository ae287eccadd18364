// AdamW (Loshchilov & Hutter 2019) over one flat buffer that all parameters are views of. Several threads may
// compute gradients of their own share of a batch: each has its own leaves and gradient buffer over the same
// values.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace laconic::lab {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;
  // true: w -= rate * decay * w, on parameters of two dimensions only. false: Adam with decay added to the
  // gradient of every parameter.
  bool decoupled = true;
};

using NamedParameters = std::vector<std::pair<std::string, at::Tensor*>>;

class AdamW {
 public:
  // Moves the parameters of the first replica into one buffer and makes those of all replicas views of it:
  // leaves that require a gradient.
  AdamW(const std::vector<NamedParameters>& replicas, AdamWOptions options);
  // Adds the gradients of all replicas in order, clips their global l2 norm to `clip` (0: no limit), applies
  // one step and clears them. Returns the norm before clipping.
  double step(double learning_rate, double clip);

  std::int64_t parameters() const { return values_.numel(); }
  std::int64_t steps() const { return steps_; }
  // The state, for checkpoints: flat f32 tensors that may be written to.
  at::Tensor& values() { return values_; }
  at::Tensor& first_moment() { return first_; }
  at::Tensor& second_moment() { return second_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  AdamWOptions options_;
  at::Tensor values_, first_, second_, decay_;  // [parameters]
  std::vector<at::Tensor> gradients_;           // one per replica
  std::int64_t steps_ = 0;
};

}  // namespace laconic::lab
