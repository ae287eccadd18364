// A float64 forward pass of Llama, Mistral, Qwen2 and Qwen3, written from their published descriptions in
// plain loops and sharing nothing with the runtime: it reads its own description and its own copy of the
// weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor/dtype.h"

namespace laconic::reference {

struct Description {
  std::string family = "llama";  // llama, mistral, qwen2, qwen3
  int vocabulary = 61, hidden = 24, intermediate = 40, layers = 3, heads = 4, kv_heads = 2, head_dim = 6;
  int max_positions = 32;
  double eps = 1e-5, theta = 10000;
  bool tied = true, qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  std::vector<int> window;  // per layer, 0: full; empty: full everywhere
  // "", "linear", "dynamic", "llama3", "yarn"
  std::string scaling;
  double factor = 1, low_freq = 1, high_freq = 4, beta_fast = 32, beta_slow = 1;
  int original_positions = 0;
  double attention_factor = 0;  // 0: 0.1 ln(factor) + 1
};

using Weights = std::map<std::string, std::vector<double>>;  // by Hugging Face name, row-major

// Random weights rounded to `dtype`, so that file and reference hold the same numbers.
Weights random_weights(const Description& description, std::uint64_t seed, DType dtype);

// Logits [tokens, vocabulary] of a whole sequence.
std::vector<double> logits(const Description& description, const Weights& weights,
                           const std::vector<int>& tokens);

// Writes config.json (with `extra` as further JSON members, "" or "\"key\": value, ...") and the weights in
// `shards` safetensors files.
void write_model(const std::filesystem::path& directory, const Description& description,
                 const Weights& weights, DType dtype, const std::string& extra, int shards = 1);
// Shapes by name.
std::map<std::string, std::vector<std::int64_t>> shapes(const Description& description);

}  // namespace laconic::reference
