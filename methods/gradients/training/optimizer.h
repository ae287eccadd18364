// What a training step does with the agreed vector. State is replicated: every rank holds the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/exchange/tensor_layout.h"

namespace laconic {

struct OptimizerSettings {
  enum class Kind { sgd, adam } kind = Kind::sgd;
  // SGD (Sutskever et al. 2013): b = momentum b + g;  x -= rate (nesterov ? g + momentum b : b).
  double momentum = 0.9;
  bool nesterov = false;
  // Adam (Kingma & Ba 2015): x -= rate m / (sqrt(v) + epsilon), m and v with bias correction or without.
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  bool bias_correction = true;
  // Outside compression: SGD adds decay x to the agreed gradient, through a momentum buffer of its own;
  // Adam moves by rate decay x (decoupled). On tensors of two or more dimensions.
  double weight_decay = 0;

  std::string text() const;
};
// RMSprop (Tieleman and Hinton 2012) with the usual constants: x -= rate g / (sqrt(v) + epsilon), which is
// Adam without a first moment and without bias correction.
OptimizerSettings rmsprop_settings();

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string text() const = 0;
  // What this rank sends for a tensor in place of its gradient, made from it in place. Called once a step and
  // tensor, before apply(), possibly on the thread of the backward pass; changes no state.
  virtual void prepare(std::size_t /*tensor*/, std::span<float> /*gradient*/) const {}
  // Whole vectors. Called on all ranks with the same agreed vector, only after accepted steps.
  virtual void apply(std::span<const float> agreed, std::span<float> parameters, double rate) = 0;
  virtual Bytes save() const = 0;
  virtual void restore(ByteSpan bytes, std::string_view where) = 0;
};

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings,
                                          const std::vector<TensorSlice>& tensors);
// SGD for exchanges that apply the momentum before they send (card 07): `corrected` tensors move by the
// agreed vector as it is, the others, and weight decay, go through momentum buffers here.
std::unique_ptr<Optimizer> make_momentum_corrected_sgd(const OptimizerSettings& settings,
                                                       const std::vector<TensorSlice>& tensors,
                                                       std::vector<bool> corrected);

}  // namespace laconic
