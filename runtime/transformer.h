// A decoder-only transformer (Llama, Mistral, Qwen2, Qwen3) whose linear layers stand behind LinearOp.
// Copies are cheap and share weights: a method makes a variant by copying and replacing layers.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cache/kv_cache.h"
#include "runtime/linear_op.h"
#include "runtime/model_config.h"

namespace laconic {

struct BlockWeights {
  std::array<std::shared_ptr<const LinearOp>, linear_slots> linear;    // by LinearSlot
  std::array<std::vector<float>, linear_slots> bias;                   // empty when absent
  std::vector<float> input_norm, post_attention_norm, q_norm, k_norm;  // the last two empty when absent
  bool attention_dropped = false, mlp_dropped = false;  // a dropped half returns its residual input unchanged
};

// Sees the input x [rows, in] of a linear layer just before it multiplies. q, k and v share one input and are
// reported once, as q; gate and up once, as gate.
using LinearObserver = std::function<void(std::int64_t layer, LinearSlot slot, const float* x,
                                          std::int64_t rows, std::int64_t in)>;

class CompressedModel;

struct LoadOptions {
  // The most bytes of .safetensors files that may be loaded, headers included: a progressive model loads the
  // longest prefix of its blocks that fits, any other refuses when it is larger.
  std::optional<std::uint64_t> size;
  // Hears what a user should know, such as a stack of blocks that was cut.
  std::function<void(std::string_view)> notice;
  // The directory, opened before; null: it is opened here.
  std::shared_ptr<const CompressedModel> compressed;
  // Gives a compressed linear layer in place of make_linear; null for the layers that it leaves alone.
  std::function<std::shared_ptr<const LinearOp>(const std::string& name)> linear;
};

class Transformer {
 public:
  // Loads a model directory: dense, or compressed by any method of Laconic. Weights stay memory-mapped.
  static Transformer load(const std::filesystem::path& model_directory, const LoadOptions& options = {});

  const ModelConfig& config() const;
  const BlockWeights& block(std::int64_t layer) const;
  void set_linear(std::int64_t layer, LinearSlot slot, std::shared_ptr<const LinearOp> linear);
  // Weights [hidden] of a block's two norms.
  void set_norms(std::int64_t layer, std::vector<float> input_norm, std::vector<float> post_attention_norm);
  void set_block(std::int64_t layer, BlockWeights weights);  // norms and biases keep their sizes
  void set_dropped(std::int64_t layer, bool attention, bool mlp);

  // hidden [tokens, hidden] of the token embeddings.
  std::vector<float> embed(std::span<const std::int32_t> tokens) const;
  // Runs one block in place over `rows` consecutive tokens. With a cache, they follow the tokens it holds and
  // are appended to it; without, they are one whole sequence from position 0. Safe to call from several
  // threads.
  void run_block(std::int64_t layer, float* hidden, std::int64_t rows, KvCache* cache,
                 const LinearObserver* observer = nullptr) const;
  // run_block without a cache in parts, for calibration that replaces layers on the way and runs nothing
  // twice: the input of q, o, gate or down, [rows, in], from the hidden states that its half of the block
  // reads; and what o or down adds to them.
  std::vector<float> linear_input(std::int64_t layer, LinearSlot lead, const float* hidden,
                                  std::int64_t rows) const;
  void add_output(std::int64_t layer, LinearSlot slot, const std::vector<float>& x, float* hidden,
                  std::int64_t rows) const;
  // Final norm and output head: logits [rows, vocabulary].
  void head(const float* hidden, std::int64_t rows, float* logits) const;

  // embed + all blocks + head: logits of every token (prefill), or of the last one only.
  std::vector<float> forward(std::span<const std::int32_t> tokens, KvCache* cache,
                             bool last_only = false) const;
  KvShape kv_shape() const;
  std::unique_ptr<KvCache> make_cache() const;  // every row exactly, as f32

  // Bytes of all weights as held in memory; mapped file pages count.
  std::uint64_t resident_bytes() const;

 private:
  // The input of o from that of q, and the input of down from that of gate.
  std::vector<float> attended(std::int64_t layer, const std::vector<float>& x, std::int64_t rows,
                              KvCache* cache) const;
  std::vector<float> gated(std::int64_t layer, const std::vector<float>& x, std::int64_t rows) const;

  struct Shared;  // config, embeddings, final norm, head, rotary tables
  std::shared_ptr<const Shared> shared_;
  std::vector<std::shared_ptr<const BlockWeights>> blocks_;
};

}  // namespace laconic
