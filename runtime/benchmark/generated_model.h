// A Llama model of any size with random weights, for measurements of speed and memory. It knows nothing.
#pragma once

#include <cstdint>
#include <filesystem>

#include "engine/base/progress.h"
#include "engine/tensor/dtype.h"

namespace laconic {

struct GeneratedModel {
  std::int64_t layers = 4, hidden = 2048, intermediate = 5632, heads = 32, kv_heads = 8, vocabulary = 1024;
  std::int64_t context = 512;
  bool tied = false;  // one matrix is embedding and output head
  DType dtype = DType::bf16;
  std::uint64_t shard_limit = std::uint64_t{1} << 30;  // a new file begins above this many bytes
  std::uint64_t seed = 1;
};

// config.json, the shards and their index; no tokenizer. Weights are uniform with the variance 1 / inputs.
// One tensor is in memory at a time. Returns the bytes of all tensors.
std::uint64_t write_generated_model(const std::filesystem::path& directory, const GeneratedModel& model,
                                    const ProgressListener& progress = {});

}  // namespace laconic
