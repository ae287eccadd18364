// Token-by-token decoding of one generated model, as it is in bf16 and with its linear layers packed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/benchmark/generated_model.h"

namespace laconic {

struct DecodeSpeed {
  std::string name;  // "bf16", "4-bit", "2-bit"
  int threads = 1;
  double tokens_per_second = 0;    // median over the rounds
  double speedup = 1;              // against bf16: median of the ratios in one round
  double processor_speedup = 1;    // the same from processor time
  std::uint64_t linear_bytes = 0;  // of the linear layers in memory
};

struct DecodeOptions {
  GeneratedModel model;
  int tokens = 8, rounds = 5;
  std::vector<int> threads = {1};
};

// Writes the model to a temporary folder and removes it. The forms take turns inside each round.
std::vector<DecodeSpeed> measure_decode(const DecodeOptions& options, const ProgressListener& progress = {});

}  // namespace laconic
