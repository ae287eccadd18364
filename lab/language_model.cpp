#include "lab/language_model.h"

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/tensor/safetensors.h"
#include "lab/fused.h"

namespace laconic::lab {
namespace {

constexpr LinearSlot all_slots[] = {LinearSlot::q,    LinearSlot::k,  LinearSlot::v,   LinearSlot::o,
                                    LinearSlot::gate, LinearSlot::up, LinearSlot::down};

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

at::Tensor normal_tensor(std::uint64_t seed, const std::string& name, std::vector<std::int64_t> shape,
                         float deviation) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  const RandomStream stream(seed, "initial weights", name);
  float* data = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    data[i] = deviation * stream.gaussian_at(static_cast<std::uint64_t>(i));
  }
  return tensor;
}

// causal_softmax of the last tokens among more keys than queries: scores [batch, group, tokens, keys].
at::Tensor softmax_behind(const at::Tensor& scores, double scale, std::int64_t window) {
  const std::int64_t tokens = scores.size(-2), earlier = scores.size(-1) - tokens;
  at::Tensor unseen = at::ones({tokens, scores.size(-1)}, at::kBool);
  if (window > 0)
    unseen = at::logical_or(unseen.triu(earlier + 1), unseen.tril(earlier - window));
  else
    unseen = unseen.triu(earlier + 1);
  return at::softmax((scores * scale).masked_fill(unseen, -std::numeric_limits<double>::infinity()), -1);
}

}  // namespace

LanguageModel::LanguageModel(ModelConfig config) : config_(std::move(config)) {
  blocks_.resize(static_cast<std::size_t>(config_.layers));
  const auto empty = [](std::vector<std::int64_t> shape) { return at::ones(shape, at::kFloat); };
  embedding_ = empty({config_.vocabulary, config_.hidden});
  final_norm_ = empty({config_.hidden});
  if (!config_.tied_embeddings) head_ = empty({config_.vocabulary, config_.hidden});
  for (Block& block : blocks_) {
    for (LinearSlot slot : all_slots) {
      const LinearShape shape = linear_shape(config_, slot);
      block.linear[static_cast<int>(slot)] = empty({shape.out, shape.in});
      if (has_bias(config_, slot)) block.bias[static_cast<int>(slot)] = at::zeros({shape.out}, at::kFloat);
    }
    block.input_norm = empty({config_.hidden});
    block.post_attention_norm = empty({config_.hidden});
    if (config_.qk_norm) {
      block.q_norm = empty({config_.head_dim});
      block.k_norm = empty({config_.head_dim});
    }
  }
  prepare_rotary();
}

LanguageModel::LanguageModel(ModelConfig config, std::uint64_t seed) : LanguageModel(std::move(config)) {
  const float residual = 1 / std::sqrt(2.0f * static_cast<float>(config_.layers));
  for (auto& [name, tensor] : parameters()) {
    if (tensor->dim() != 2) continue;
    const bool writes_residual =
        name.find("o_proj") != std::string::npos || name.find("down_proj") != std::string::npos;
    // Tables are looked up and multiplied by: small, so that the first predictions are even.
    const bool table = name.find("layers.") == std::string::npos;
    const float deviation = table ? 0.02f : 1 / std::sqrt(static_cast<float>(tensor->size(1)));
    *tensor =
        normal_tensor(seed, name, tensor->sizes().vec(), writes_residual ? deviation * residual : deviation);
  }
}

LanguageModel LanguageModel::load(const std::filesystem::path& model_directory) {
  LanguageModel model(ModelConfig::load(model_directory));
  const SafetensorsDirectory directory(model_directory);
  for (auto& [name, tensor] : model.parameters()) {
    const TensorView view = directory.tensor(name);
    if (view.shape != tensor->sizes().vec()) {
      fail(ErrorKind::input,
           "tensor has shape " + to_string(view.shape) + ", the configuration says " +
               to_string(tensor->sizes().vec()),
           name);
    }
    convert_to_f32(view.dtype, view.data,
                   {tensor->data_ptr<float>(), static_cast<std::size_t>(tensor->numel())});
  }
  return model;
}

std::vector<std::pair<std::string, at::Tensor*>> LanguageModel::parameters() {
  std::vector<std::pair<std::string, at::Tensor*>> list;
  list.emplace_back("model.embed_tokens.weight", &embedding_);
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    Block& block = blocks_[static_cast<std::size_t>(layer)];
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    list.emplace_back(prefix + "input_layernorm.weight", &block.input_norm);
    for (LinearSlot slot : all_slots) {
      const std::string weight = linear_name(layer, slot);
      list.emplace_back(weight, &block.linear[static_cast<int>(slot)]);
      if (at::Tensor& bias = block.bias[static_cast<int>(slot)]; bias.defined()) {
        list.emplace_back(weight.substr(0, weight.size() - 6) + "bias", &bias);
      }
      if (slot == LinearSlot::v && block.q_norm.defined()) {
        list.emplace_back(prefix + "self_attn.q_norm.weight", &block.q_norm);
        list.emplace_back(prefix + "self_attn.k_norm.weight", &block.k_norm);
      }
      if (slot == LinearSlot::o) {
        list.emplace_back(prefix + "post_attention_layernorm.weight", &block.post_attention_norm);
      }
    }
  }
  list.emplace_back("model.norm.weight", &final_norm_);
  if (head_.defined()) list.emplace_back("lm_head.weight", &head_);
  return list;
}

void LanguageModel::prepare_rotary() {
  if (config_.rope_scaling.kind != RopeScaling::Kind::none) {
    fail(ErrorKind::unsupported, "the lab's model has no rotary scaling", "rope_scaling",
         "use a model without it, or a method that needs no gradients");
  }
  const std::int64_t half = config_.head_dim / 2;
  const std::int64_t positions = config_.max_positions;
  cosine_ = at::empty({positions, 1, config_.head_dim}, at::kFloat);
  sine_ = at::empty_like(cosine_);
  for (std::int64_t position = 0; position < positions; ++position) {
    float* cosine = cosine_.data_ptr<float>() + position * config_.head_dim;
    float* sine = sine_.data_ptr<float>() + position * config_.head_dim;
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(position) *
          std::pow(config_.rope_theta, -static_cast<double>(2 * i) / static_cast<double>(config_.head_dim));
      cosine[i] = cosine[half + i] = static_cast<float>(std::cos(angle));
      sine[i] = static_cast<float>(-std::sin(angle));  // multiplies the upper half, which is moved down
      sine[half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

at::Tensor LanguageModel::embed(const at::Tensor& tokens) const { return at::embedding(embedding_, tokens); }

at::Tensor LanguageModel::attention(const Block& block, std::int64_t layer, const at::Tensor& x,
                                    const OutputHook* hook) const {
  const std::int64_t windows = x.size(0), tokens = x.size(1);
  const std::int64_t heads = config_.heads, kv_heads = config_.kv_heads, dim = config_.head_dim;
  const std::int64_t group = heads / kv_heads;
  const auto project = [&](LinearSlot slot, std::int64_t count) {
    const int i = static_cast<int>(slot);
    at::Tensor y = at::linear(x, block.linear[i], block.bias[i]);
    if (hook) y = (*hook)(layer, slot, y);
    return y.view({windows, tokens, count, dim});
  };
  at::Tensor q = project(LinearSlot::q, heads), k = project(LinearSlot::k, kv_heads);
  at::Tensor v = project(LinearSlot::v, kv_heads);
  if (block.q_norm.defined()) {
    q = rms_norm(q, block.q_norm, config_.rms_norm_eps);
    k = rms_norm(k, block.k_norm, config_.rms_norm_eps);
  }
  const at::Tensor cosine = cosine_.narrow(0, first_position_, tokens),
                   sine = sine_.narrow(0, first_position_, tokens);
  q = rotate(q, cosine, sine);
  k = rotate(k, cosine, sine);
  if (key_value_hook_) key_value_hook_(layer, k, v);
  const std::int64_t seen = k.size(1);

  // Query heads that share a key head stand in one matrix: [windows * kv_heads, group * tokens, dim].
  q = q.view({windows, tokens, kv_heads, group, dim})
          .permute({0, 2, 3, 1, 4})
          .reshape({windows * kv_heads, group * tokens, dim});
  k = k.permute({0, 2, 3, 1}).reshape({windows * kv_heads, dim, seen});
  const at::Tensor values = v.permute({0, 2, 1, 3}).reshape({windows * kv_heads, seen, dim});
  const at::Tensor scores = at::bmm(q, k).view({windows * kv_heads, group, tokens, seen});
  const std::int64_t window =
      config_.sliding_window.empty() ? 0 : config_.sliding_window[static_cast<std::size_t>(layer)];
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  const at::Tensor weights =
      seen == tokens ? causal_softmax(scores, scale, window) : softmax_behind(scores, scale, window);
  at::Tensor mixed = at::bmm(weights.view({windows * kv_heads, group * tokens, seen}), values);
  mixed = mixed.view({windows, kv_heads, group, tokens, dim})
              .permute({0, 3, 1, 2, 4})
              .reshape({windows, tokens, heads * dim});
  const int o = static_cast<int>(LinearSlot::o);
  at::Tensor y = at::linear(mixed, block.linear[o], block.bias[o]);
  if (hook) y = (*hook)(layer, LinearSlot::o, y);
  return y;
}

at::Tensor LanguageModel::run_block(const Block& block, std::int64_t layer, const at::Tensor& hidden,
                                    const OutputHook* hook) const {
  const auto linear = [&](LinearSlot slot, const at::Tensor& x) {
    const int i = static_cast<int>(slot);
    at::Tensor y = at::linear(x, block.linear[i], block.bias[i]);
    if (hook) y = (*hook)(layer, slot, y);
    return y;
  };
  const at::Tensor middle =
      hidden + attention(block, layer, rms_norm(hidden, block.input_norm, config_.rms_norm_eps), hook);
  const at::Tensor x = rms_norm(middle, block.post_attention_norm, config_.rms_norm_eps);
  const at::Tensor gated = swiglu(linear(LinearSlot::gate, x), linear(LinearSlot::up, x));
  return middle + linear(LinearSlot::down, gated);
}

at::Tensor LanguageModel::run_block(std::int64_t layer, const at::Tensor& hidden,
                                    const OutputHook* hook) const {
  return run_block(blocks_[static_cast<std::size_t>(layer)], layer, hidden, hook);
}

at::Tensor LanguageModel::head(const at::Tensor& hidden) const {
  return at::linear(rms_norm(hidden, final_norm_, config_.rms_norm_eps),
                    head_.defined() ? head_ : embedding_);
}

at::Tensor LanguageModel::logits(const at::Tensor& tokens, const OutputHook* hook) const {
  at::Tensor hidden = embed(tokens);
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) hidden = run_block(layer, hidden, hook);
  return head(hidden);
}

at::Tensor token_tensor(const ModelConfig& config, std::span<const std::int32_t> tokens) {
  if (tokens.empty() || static_cast<std::int64_t>(tokens.size()) > config.max_positions) {
    fail(ErrorKind::usage, std::to_string(tokens.size()) + " tokens in one window", "lab",
         "the model has " + std::to_string(config.max_positions) + " positions");
  }
  at::Tensor ids = at::empty({1, static_cast<std::int64_t>(tokens.size())}, at::kLong);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocabulary) {
      fail(ErrorKind::usage, "token " + std::to_string(tokens[i]) + " is outside the vocabulary", "lab");
    }
    ids.data_ptr<std::int64_t>()[i] = tokens[i];
  }
  return ids;
}

void LanguageModel::save(const std::filesystem::path& directory) {
  std::vector<Tensor> stored;
  std::vector<SafetensorsItem> items;
  for (auto& [name, tensor] : parameters()) {
    const at::Tensor dense = tensor->detach().contiguous();
    stored.push_back(Tensor::from_f32(dense.sizes().vec(),
                                      {dense.data_ptr<float>(), static_cast<std::size_t>(dense.numel())},
                                      DType::bf16));
    items.push_back({name, stored.back().view()});
  }
  write_safetensors(directory / "model.safetensors", items, {{"format", "pt"}});
  write_file(directory / "config.json", llama_config_json(config_));
}

}  // namespace laconic::lab
