// The outer step by owners, as optimizer states are sharded (ZeRO): each worker keeps the outer point, its
// snapshot and its momentum for one part of every bucket only.
//
//   reduce-scatter of the contributions -> mean of the own part -> OuterUpdate on it -> all-gather of x_{t+1}
//
// All three stages run on the communication thread beside the next local phase: a reduction (round_reduction)
// whose result is the next outer point. It sends what an all-reduce in f32 sends, and its points have the
// bits of the outer step that every worker takes whole.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/exchange/outer_update.h"
#include "engine/transport/communicator.h"

namespace laconic {

class ShardedOuter {
 public:
  ShardedOuter(const OuterForm& form, const std::vector<TensorSlice>& tensors,
               const std::vector<Bucket>& buckets, int ranks, int rank, std::span<const float> start);

  // Collective: x_{t+1} in `result`, from the contributions `own` of round t - delay. False, on all ranks,
  // when some number was not finite: `result` is then x_{t+1} = x_t.
  bool reduce(Communicator& communicator, std::span<const float> own, std::span<float> result, RoundMean what,
              double rate_then, double rate_now);
  // Of the last reduce() that was accepted.
  const OuterStep& last_step() const { return step_; }

  OuterUpdate& update() { return update_; }
  const OuterUpdate& update() const { return update_; }

 private:
  std::vector<Bucket> buckets_;
  OuterUpdate update_;
  OuterStep step_;
};

}  // namespace laconic
