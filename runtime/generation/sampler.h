// Chooses the next token from logits. In this order: repetition penalty (Keskar et al. 2019, CTRL,
// section 4.1: logits of tokens that already occurred are divided by it when positive, multiplied when
// negative), temperature, the top_k largest logits, the smallest set of most probable tokens whose
// probability reaches top_p (Holtzman et al. 2020), then a draw from what is left. Ties: lower id first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

struct SamplingOptions {
  double temperature = 0;         // 0: always the most probable token
  std::int64_t top_k = 0;         // 0: no limit
  double top_p = 1;               // (0, 1]
  double repetition_penalty = 1;  // > 0; 1: none
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  // Throws Error(usage) on options outside their ranges.
  explicit Sampler(const SamplingOptions& options);
  // `context`: all tokens so far. `logits` is changed. Throws Error(input) on a logit that is NaN or
  // infinite.
  std::int32_t choose(std::span<float> logits, std::span<const std::int32_t> context);

 private:
  SamplingOptions options_;
  RandomStream random_;
};

}  // namespace laconic
