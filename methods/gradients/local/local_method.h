// How a published system trains by local steps: what it is given, and what it makes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/codec/codec.h"
#include "engine/exchange/gradient_exchange.h"
#include "methods/gradients/local/round_rule.h"

namespace laconic {

struct LocalRequest {
  std::vector<TensorSlice> tensors;
  std::vector<Bucket> buckets;  // of the carrier
  Parameters parameters;        // of the method
  std::span<const float> start;
  int ranks = 1, rank = 0;
  // Another exchange than the dense f32 mean carries what workers contribute.
  bool coded = false;
  // The inner optimizer moves a number by about its rate, whatever the scale of gradients (Adam).
  bool unit_steps = false;
};

// Steps of a round: fixed, or found from the times of steps and reductions.
struct RoundLengthSettings {
  std::int64_t tau = 12;            // 0: found
  std::int64_t most = 500;          // when found
  std::int64_t measure_every = 50;  // rounds
};

struct LocalRounds {
  std::unique_ptr<RoundRule> rule;
  RoundLengthSettings length;
};

using MakeLocalRounds = std::function<LocalRounds(const LocalRequest&)>;

}  // namespace laconic
