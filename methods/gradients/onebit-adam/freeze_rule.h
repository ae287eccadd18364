// When the variance of 1-bit Adam is good enough to stay (card 02): after a fixed number of steps, or when
// its l1 norm has stopped moving,
//
//   min(|v_t| / |v_{t-D}|, |v_{t-D}| / |v_t|) >= ratio      every D steps, D = 1 / (1 - beta2)
//
// and not before the learning rate has warmed up. Where Adam corrects biases, v is the corrected one: the
// plain sum grows from 0 whatever the gradients do, so that its ratio is 0.73, 0.91, 0.97, ... for a variance
// that never moves, and hides gradients that shrink at the same pace.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/bytes.h"

namespace laconic::onebit_adam {

struct FreezeSettings {
  std::uint64_t step = 0;  // the last one of the warm-up; 0: by ratio
  double ratio = 0.96;
  std::uint64_t window = 1000;  // D
  std::uint64_t not_before = 0;

  std::string text() const;
};

class FreezeRule {
 public:
  explicit FreezeRule(const FreezeSettings& settings) : settings_(settings) {}

  // Whether after_step(step) looks at the norm.
  bool needs_norm(std::uint64_t step) const;
  // At the end of a warm-up step: whether the variance stays as it is from now on. `norm` is |v| where
  // needed.
  bool after_step(std::uint64_t step, double norm);
  // Of the last comparison; 0 before the first.
  double last_ratio() const { return last_ratio_; }

  void save(ByteWriter& writer) const;
  void restore(ByteReader& reader);

 private:
  FreezeSettings settings_;
  double norm_before_ = 0;  // |v_{t-D}|; 0: none yet
  double last_ratio_ = 0;
};

}  // namespace laconic::onebit_adam
