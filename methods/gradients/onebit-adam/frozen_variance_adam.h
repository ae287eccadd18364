// Adam in two stages (card 02). All state is replicated: every rank holds the same bits.
//
//   warm-up   g agreed;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//   then      rank i sends m_i = b1 m + (1-b1) g_i;  m = what is agreed;  v stays
//   both      x -= rate (m / c (sqrt(v / c') + epsilon) + decay x)
//
// c and c' correct the bias in the warm-up (or are 1, as in the official code), and keep their last value
// when it ends, so that the step does not jump. When v freezes, each tensor's v is raised to `floor` times
// the median of its positive values: a rarely touched coordinate would else be divided by next to nothing
// while the sign code gives it the common scale. Coordinates that never had a gradient (v = 0) may be left
// out: m stays 0 there for ever. Tensors that are always dense stay in the warm-up stage.
#pragma once

#include <functional>
#include <vector>

#include "methods/gradients/onebit-adam/freeze_rule.h"
#include "methods/gradients/training/optimizer.h"

namespace laconic::onebit_adam {

struct FrozenVarianceSettings {
  OptimizerSettings adam;  // beta1, beta2, epsilon, bias_correction and weight_decay of it
  FreezeSettings freeze;
  double floor = 0.01;      // 0: none
  bool leave_out = true;    // coordinates with v = 0
  std::vector<bool> dense;  // by tensor; empty: none
};

class FrozenVarianceAdam final : public Optimizer {
 public:
  // `on_freeze` hears, at the end of the step that freezes, which numbers are carried from now on (empty:
  // all).
  FrozenVarianceAdam(std::vector<TensorSlice> tensors, const FrozenVarianceSettings& settings,
                     std::function<void(std::vector<std::uint8_t> carried)> on_freeze);

  // After each step: |v / c'|, the freeze rule's last ratio (0: none yet) and whether v is frozen. For plots.
  std::function<void(std::uint64_t step, double norm, double ratio, bool frozen)> on_variance;

  bool frozen() const { return frozen_; }
  std::span<const float> first() const { return first_; }
  std::span<const float> second() const { return second_; }

  std::string text() const override;
  void prepare(std::size_t tensor, std::span<float> gradient) const override;
  void apply(std::span<const float> agreed, std::span<float> parameters, double rate) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;

 private:
  bool in_warm_up(std::size_t tensor) const;
  void warm_up_step(const TensorSlice& tensor, std::span<const float> agreed, std::span<float> parameters,
                    double rate);
  void frozen_step(const TensorSlice& tensor, std::span<const float> agreed, std::span<float> parameters,
                   double rate);
  double norm_of_variance() const;
  void freeze();
  double first_bias(std::uint64_t step) const;
  double second_bias(std::uint64_t step) const;

  std::vector<TensorSlice> tensors_;
  FrozenVarianceSettings settings_;
  std::function<void(std::vector<std::uint8_t>)> on_freeze_;
  FreezeRule rule_;
  std::vector<float> first_, second_;  // m, v
  std::uint64_t steps_ = 0, frozen_after_ = 0;
  bool frozen_ = false;
};

}  // namespace laconic::onebit_adam
