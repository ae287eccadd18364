// Reads a model directory into a Transformer and checks that it holds exactly the weights its config.json
// asks for.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/transformer_state.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

// Dense tensors are looked at where they lie; a big one is checked piece by piece so that no copy of it is
// made.
void require_finite_weights(const TensorView& view, std::string_view name) {
  constexpr std::int64_t piece = 1 << 16;
  const std::int64_t size = view.elements();
  parallel_for((size + piece - 1) / piece, [&](std::int64_t i) {
    std::vector<float> values(static_cast<std::size_t>(std::min(piece, size - i * piece)));
    convert_to_f32(view.dtype, view.data + static_cast<std::size_t>(i * piece) * size_of(view.dtype), values);
    float sum = 0;  // x - x is NaN for every x that is not finite
    for (const float value : values) sum += value - value;
    if (sum == 0) return;
    const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
    fail(ErrorKind::input,
         fmt::format("{} at flat index {}", std::isnan(*bad) ? "NaN" : "infinity",
                     i * piece + (bad - values.begin())),
         name, "the weights are damaged: fetch or train the model again");
  });
}

// The tensors of a directory, dense or compressed, and the names that were asked for.
class WeightSource {
 public:
  WeightSource(const fs::path& directory, const ModelConfig& config,
               std::shared_ptr<const CompressedModel> compressed, const LoadOptions& options)
      : directory_(directory), config_(config), options_(options), compressed_(std::move(compressed)) {
    if (compressed_) {
      for (std::string& name : compressed_->compressed_tensors()) packed_.insert(std::move(name));
      tensors_ = &compressed_->tensors();
      owner_ = compressed_;
    } else {
      dense_ = std::make_shared<SafetensorsDirectory>(directory);
      if (options.size && dense_->file_bytes() > *options.size) {
        fail(ErrorKind::usage,
             fmt::format("has {} bytes, more than the {} that were allowed", dense_->file_bytes(),
                         *options.size),
             directory.string(), "compress it: laconic compress -m bitstack makes models of any size");
      }
      tensors_ = dense_.get();
      owner_ = dense_;
    }
  }

  bool has(const std::string& name) const { return packed_.count(name) > 0 || tensors_->contains(name); }

  // A tensor stored as it is, checked.
  TensorView view(const std::string& name, const Shape& shape) {
    asked_.insert(name);
    if (!tensors_->contains(name)) missing(name);
    const TensorView view = tensors_->tensor(name);
    check_shape(name, view.shape, shape);
    if (view.dtype != DType::f32 && view.dtype != DType::f16 && view.dtype != DType::bf16) {
      fail(ErrorKind::unsupported, fmt::format("tensor \"{}\" is {}", name, name_of(view.dtype)),
           directory_.string(), "weights are F32, F16 or BF16");
    }
    require_finite_weights(view, fmt::format("{}: {}", directory_.string(), name));
    return view;
  }

  std::vector<float> vector(const std::string& name, std::int64_t size) {
    if (packed_.count(name) == 0) return view(name, {size}).to_f32();
    asked_.insert(name);
    const Payload payload = compressed_->payload(name);
    check_shape(name, payload.shape, {size});
    const Tensor values = decode_payload(payload);
    return {values.f32().begin(), values.f32().end()};
  }

  std::shared_ptr<const LinearOp> linear(const std::string& name, LinearShape shape) {
    if (packed_.count(name) == 0) return make_dense_linear(view(name, {shape.out, shape.in}), owner_);
    return packed_linear(name, {shape.out, shape.in});
  }

  // Layers that a depth-pruning method left out.
  bool dropped(std::string_view key, std::int64_t layer) const {
    if (compressed_ == nullptr || !compressed_->provenance().contains(key)) return false;
    const auto& layers = compressed_->provenance().integers(key);
    return std::find(layers.begin(), layers.end(), layer) != layers.end();
  }

  // A tensor of a dropped half: absent, or stored as nothing. Weights under that mark would be without effect
  // here and with effect in the decompressed model.
  void expect_left_out(const std::string& name, const Shape& shape) {
    if (!has(name)) return;
    asked_.insert(name);
    if (packed_.count(name) == 0 || compressed_->summary(name).codec != "zero") {
      fail(ErrorKind::corrupt,
           fmt::format("\"{}\" belongs to a dropped half of a block and has values", name),
           directory_.string());
    }
    check_shape(name, compressed_->summary(name).shape, shape);
  }

  // Refuses tensors that nothing asked for, but for tables that old checkpoints carry and no model reads.
  void check_nothing_left() const {
    std::vector<std::string> unknown;
    const auto look = [&](const std::string& name) {
      const bool harmless = name.ends_with("rotary_emb.inv_freq") ||
                            name.ends_with("rotary_emb.cos_cached") ||
                            name.ends_with("rotary_emb.sin_cached");
      if (!harmless && asked_.count(name) == 0) unknown.push_back(name);
    };
    for (const std::string& name : tensors_->names()) {
      if (!field_of_packed(name)) look(name);
    }
    for (const std::string& name : packed_) look(name);
    if (unknown.empty()) return;
    std::string list = unknown.front();
    for (std::size_t i = 1; i < std::min<std::size_t>(unknown.size(), 5); ++i) list += ", " + unknown[i];
    fail(ErrorKind::input,
         fmt::format("holds {} tensor{} that a {} model does not have: {}{}", unknown.size(),
                     unknown.size() == 1 ? "" : "s", config_.model_type, list,
                     unknown.size() > 5 ? ", ..." : ""),
         directory_.string(), "config.json does not describe these weights");
  }

 private:
  [[noreturn]] void missing(const std::string& name) const {
    fail(ErrorKind::input, fmt::format("lacks the tensor \"{}\"", name), directory_.string(),
         name == "lm_head.weight" ? "config.json says tie_word_embeddings = false"
                                  : "config.json does not describe these weights, or a shard is missing");
  }
  void check_shape(const std::string& name, const Shape& found, const Shape& wanted) const {
    if (found == wanted) return;
    fail(ErrorKind::input,
         fmt::format("tensor \"{}\" has shape {}, config.json asks for {}", name, to_string(found),
                     to_string(wanted)),
         directory_.string());
  }
  std::shared_ptr<const LinearOp> packed_linear(const std::string& name, const Shape& shape) {
    asked_.insert(name);
    check_shape(name, compressed_->summary(name).shape, shape);
    if (options_.linear) {
      if (auto own = options_.linear(name)) return own;
    }
    return make_linear(compressed_->payload(name));
  }
  bool field_of_packed(const std::string& name) const {
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      if (packed_.count(name.substr(0, dot)) > 0) return true;
    }
    return false;
  }

  fs::path directory_;
  const ModelConfig& config_;
  const LoadOptions& options_;
  std::shared_ptr<const SafetensorsDirectory> dense_;
  std::shared_ptr<const CompressedModel> compressed_;
  std::shared_ptr<const void> owner_;
  const SafetensorsDirectory* tensors_ = nullptr;
  std::set<std::string> packed_, asked_;
};

bool same_values(const LinearOp& a, const LinearOp& b) {
  const std::int64_t width = a.in_features();
  std::vector<float> left(static_cast<std::size_t>(width)), right(left.size());
  for (std::int64_t row = 0; row < a.out_features(); ++row) {
    a.expand_rows(row, row + 1, left.data());
    b.expand_rows(row, row + 1, right.data());
    if (left != right) return false;
  }
  return true;
}

bool has_bias(const ModelConfig& config, LinearSlot slot) {
  switch (slot) {
    case LinearSlot::q:
    case LinearSlot::k:
    case LinearSlot::v:
      return config.qkv_bias;
    case LinearSlot::o:
      return config.output_bias;
    default:
      return config.mlp_bias;
  }
}

std::shared_ptr<BlockWeights> load_block(WeightSource& source, const ModelConfig& config,
                                         std::int64_t layer) {
  auto block = std::make_shared<BlockWeights>();
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  block->attention_dropped = source.dropped("dropped_attention", layer);
  block->mlp_dropped = source.dropped("dropped_mlp", layer);
  for (int i = 0; i < linear_slots; ++i) {
    const auto slot = static_cast<LinearSlot>(i);
    const auto index = static_cast<std::size_t>(i);
    const LinearShape shape = linear_shape(config, slot);
    const std::string name = linear_name(layer, slot);
    const std::string bias = name.substr(0, name.size() - std::string_view("weight").size()) + "bias";
    if (i <= static_cast<int>(LinearSlot::o) ? block->attention_dropped : block->mlp_dropped) {
      source.expect_left_out(name, {shape.out, shape.in});
      if (has_bias(config, slot)) source.expect_left_out(bias, {shape.out});
      continue;
    }
    block->linear[index] = source.linear(name, shape);
    if (has_bias(config, slot)) block->bias[index] = source.vector(bias, shape.out);
  }
  const auto norm = [&](std::string_view name, bool dropped, std::int64_t size) {
    const std::string full = prefix + std::string(name);
    return dropped && !source.has(full) ? std::vector<float>() : source.vector(full, size);
  };
  block->input_norm = norm("input_layernorm.weight", block->attention_dropped, config.hidden);
  block->post_attention_norm = norm("post_attention_layernorm.weight", block->mlp_dropped, config.hidden);
  if (config.qk_norm) {
    block->q_norm = norm("self_attn.q_norm.weight", block->attention_dropped, config.head_dim);
    block->k_norm = norm("self_attn.k_norm.weight", block->attention_dropped, config.head_dim);
  }
  return block;
}

}  // namespace

Transformer Transformer::load(const fs::path& model_directory, const LoadOptions& options) {
  if (!fs::is_directory(model_directory)) {
    fail(ErrorKind::input, "is not a directory", model_directory.string(),
         "give a Hugging Face model directory");
  }
  // A compressed directory is checked against its manifest before any of its files is understood: damage is
  // named as damage, not as a strange configuration.
  std::shared_ptr<const CompressedModel> compressed = options.compressed;
  if (compressed == nullptr && CompressedModel::is_compressed(model_directory)) {
    compressed = std::make_shared<CompressedModel>(model_directory, OpenOptions{true, options.size});
  }
  if (compressed != nullptr && options.notice && !compressed->notice().empty()) {
    options.notice(compressed->notice());
  }
  auto shared = std::make_shared<Shared>(ModelConfig::load(model_directory));
  const ModelConfig& config = shared->config;
  WeightSource source(model_directory, config, std::move(compressed), options);
  static const std::string embedding_name = "model.embed_tokens.weight", head_name = "lm_head.weight";
  const LinearShape vocabulary_shape = {config.vocabulary, config.hidden};
  shared->embeddings = source.linear(embedding_name, vocabulary_shape);
  if (!config.tied_embeddings) {
    shared->head = source.linear(head_name, vocabulary_shape);
  } else {
    shared->head = shared->embeddings;
    // A stored copy of the tied head says nothing new; one that differs would be silently without effect.
    if (source.has(head_name) &&
        !same_values(*source.linear(head_name, vocabulary_shape), *shared->embeddings)) {
      fail(ErrorKind::input, "lm_head.weight differs from the embeddings that config.json ties it to",
           model_directory.string(), "set tie_word_embeddings to false, or remove lm_head.weight");
    }
  }
  shared->final_norm = source.vector("model.norm.weight", config.hidden);
  Transformer model;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    model.blocks_.push_back(load_block(source, config, layer));
  }
  source.check_nothing_left();
  model.shared_ = std::move(shared);
  return model;
}

}  // namespace laconic
