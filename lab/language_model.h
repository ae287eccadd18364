// The decoder language model of the runtime, written in LibTorch so that gradients flow: Llama, Mistral,
// Qwen2 and Qwen3. Reads and writes the same Hugging Face directories; both agree on logits to 1e-4.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/model_config.h"

namespace laconic::lab {

struct Block {
  std::array<at::Tensor, linear_slots> linear;  // [out, in], by LinearSlot
  std::array<at::Tensor, linear_slots> bias;    // undefined when absent
  at::Tensor input_norm, post_attention_norm;   // [hidden]
  at::Tensor q_norm, k_norm;                    // [head_dim], undefined when absent
};

// May replace the output y [windows, tokens, out] of a linear layer; used to catch gradients.
using OutputHook = std::function<at::Tensor(std::int64_t layer, LinearSlot slot, const at::Tensor& y)>;

// May replace the keys (turned by their positions) and values [windows, tokens, kv_heads, head_dim] of a
// layer before attention sees them, also by more of them: those of earlier tokens come first.
using KeyValueHook = std::function<void(std::int64_t layer, at::Tensor& keys, at::Tensor& values)>;

class LanguageModel {
 public:
  // Random weights: normal with deviation 1/sqrt(in) in linear layers (LeCun et al. 1998), 0.02 in the
  // tables; the two layers that write to the residual stream scaled by 1/sqrt(2 layers); norms are one. Every
  // tensor has its own random stream, named after it.
  LanguageModel(ModelConfig config, std::uint64_t seed);
  // f32 weights of a dense directory. Throws Error(input) on missing tensors and wrong shapes.
  static LanguageModel load(const std::filesystem::path& model_directory);

  const ModelConfig& config() const { return config_; }
  std::vector<Block>& blocks() { return blocks_; }
  // Hugging Face names and tensors, in the order they are stored. Tied heads are listed once.
  std::vector<std::pair<std::string, at::Tensor*>> parameters();

  // tokens [windows, tokens] int64 -> [windows, tokens, hidden].
  at::Tensor embed(const at::Tensor& tokens) const;
  at::Tensor run_block(std::int64_t layer, const at::Tensor& hidden, const OutputHook* hook = nullptr) const;
  at::Tensor run_block(const Block& block, std::int64_t layer, const at::Tensor& hidden,
                       const OutputHook* hook = nullptr) const;
  at::Tensor head(const at::Tensor& hidden) const;
  at::Tensor logits(const at::Tensor& tokens, const OutputHook* hook = nullptr) const;

  // Copies of a model share weights; each may have a hook of its own.
  void set_key_value_hook(KeyValueHook hook) { key_value_hook_ = std::move(hook); }
  // Position of the first token: where the hook brings the keys and values of earlier ones.
  void set_first_position(std::int64_t first) { first_position_ = first; }

  // Writes model.safetensors (bf16, rounded to nearest even) and config.json.
  void save(const std::filesystem::path& directory);

 private:
  explicit LanguageModel(ModelConfig config);
  void prepare_rotary();
  at::Tensor attention(const Block& block, std::int64_t layer, const at::Tensor& x,
                       const OutputHook* hook) const;

  ModelConfig config_;
  at::Tensor embedding_, final_norm_, head_;  // head_ undefined when tied
  std::vector<Block> blocks_;
  KeyValueHook key_value_hook_;
  std::int64_t first_position_ = 0;
  at::Tensor cosine_, sine_;  // [max_positions, 1, head_dim]
};

// int64 [1, tokens]. Throws Error(usage) on ids outside the vocabulary and on more tokens than the model has
// positions.
at::Tensor token_tensor(const ModelConfig& config, std::span<const std::int32_t> tokens);

// The config.json of a model of ours (family llama).
std::string llama_config_json(const ModelConfig& config);

}  // namespace laconic::lab
