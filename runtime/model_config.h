// Shape and options of a decoder language model, read from a Hugging Face config.json. Keys that would change
// the result and are not supported are refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

enum class ModelFamily { llama, mistral, qwen2, qwen3 };

struct RopeScaling {
  enum class Kind { none, linear, dynamic_ntk, yarn, llama3 };
  Kind kind = Kind::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  std::int64_t original_max_positions = 0;           // llama3, yarn, dynamic
  double beta_fast = 32, beta_slow = 1;              // yarn
  double attention_factor = 0;                       // yarn; 0: derived
};

struct ModelConfig {
  ModelFamily family = ModelFamily::llama;
  std::string model_type;
  std::int64_t vocabulary = 0, hidden = 0, intermediate = 0, layers = 0;
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, max_positions = 0;
  double rms_norm_eps = 1e-6, rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tied_embeddings = false;
  bool qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  std::vector<std::int64_t> sliding_window;  // per layer; 0: full attention
  std::int64_t bos_token = -1;
  std::vector<std::int64_t> eos_tokens;

  static ModelConfig parse(std::string_view json_text, std::string_view where);
  static ModelConfig load(const std::filesystem::path& model_directory);
};

// The linear layers of one block, in the order they run.
enum class LinearSlot { q, k, v, o, gate, up, down };
inline constexpr int linear_slots = 7;
// "model.layers.3.self_attn.q_proj.weight"
std::string linear_name(std::int64_t layer, LinearSlot slot);
struct LinearShape {
  std::int64_t out = 0, in = 0;
};
LinearShape linear_shape(const ModelConfig& config, LinearSlot slot);

}  // namespace laconic
