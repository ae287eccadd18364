// How a published system takes part in data-parallel training: what it is given, and what it makes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/codec/codec.h"
#include "engine/exchange/gradient_exchange.h"
#include "methods/gradients/training/optimizer.h"

namespace laconic {

struct ExchangeRequest {
  std::vector<TensorSlice> tensors;
  Parameters parameters;  // of the method
  OptimizerSettings optimizer;
  int ranks = 1, rank = 0;
  std::uint64_t seed = 0;
  std::uint64_t steps = 0;            // of the whole run
  std::uint64_t steps_per_epoch = 1;  // for schedules by epoch
  std::size_t bucket_bytes = 25'000'000;
  // L_i of each rank's loss where training begins, measured together: all ranks call it or none. Empty where
  // nothing is trained.
  std::function<std::vector<double>()> smoothness = {};
  // A line that the user should see; empty on all ranks but one.
  std::function<void(std::string_view)> message = {};
};

struct TrainingExchange {
  std::unique_ptr<GradientExchange> exchange;
  std::unique_ptr<Optimizer> optimizer;  // the method's own; null: make_optimizer(request.optimizer)
  // Of the largest norm of a rank's own gradient, where that is clipped before the exchange.
  double clip_share = 1;
};

}  // namespace laconic
