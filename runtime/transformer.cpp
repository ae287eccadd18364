#include "runtime/transformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/threads.h"
#include "runtime/attention.h"
#include "runtime/row_kernel.h"
#include "runtime/transformer_state.h"

namespace laconic {
namespace {

constexpr std::int64_t step_rows = 16;   // rows of one task of a row-wise step
constexpr std::int64_t mlp_rows = 1024;  // rows of a long prompt whose MLP activations are held at a time

std::size_t index_of(LinearSlot slot) { return static_cast<std::size_t>(slot); }

std::vector<float> normed(const float* hidden, std::int64_t rows, std::int64_t width,
                          const std::vector<float>& weight, double eps) {
  std::vector<float> result(static_cast<std::size_t>(rows * width));
  parallel_tiles(rows, step_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      rms_norm(hidden + row * width, weight.data(), width, static_cast<float>(eps),
               result.data() + row * width);
    }
  });
  return result;
}

// y = W x + b for one linear layer of a block.
std::vector<float> project(const BlockWeights& block, LinearSlot slot, const std::vector<float>& x,
                           std::int64_t rows) {
  const LinearOp& linear = *block.linear[index_of(slot)];
  const std::int64_t out = linear.out_features();
  std::vector<float> y(static_cast<std::size_t>(rows * out));
  linear.multiply(x.data(), rows, y.data());
  const std::vector<float>& bias = block.bias[index_of(slot)];
  if (!bias.empty()) {
    for (std::int64_t row = 0; row < rows; ++row) {
      float* to = y.data() + row * out;
      for (std::int64_t i = 0; i < out; ++i) to[i] += bias[static_cast<std::size_t>(i)];
    }
  }
  return y;
}

void add_to(float* hidden, const std::vector<float>& change) {
  for (std::size_t i = 0; i < change.size(); ++i) hidden[i] += change[i];
}

// Norms the heads of queries or keys [rows, heads, head_dim] where the family has such norms, then turns
// them.
void place_heads(std::vector<float>& states, std::int64_t rows, std::int64_t heads, const ModelConfig& config,
                 const std::vector<float>& norm, const std::vector<float>& cosine,
                 const std::vector<float>& sine) {
  const std::int64_t half = config.head_dim / 2;
  parallel_tiles(rows, step_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t h = 0; h < heads; ++h) {
        float* head = states.data() + (row * heads + h) * config.head_dim;
        if (!norm.empty()) {
          rms_norm(head, norm.data(), config.head_dim, static_cast<float>(config.rms_norm_eps), head);
        }
        rotate_half_split(head, half, cosine.data() + row * half, sine.data() + row * half);
      }
    }
  });
}

// Every query head over its KV head, for a whole sequence [rows, heads, head_dim] without a cache.
std::vector<float> attention_of(const ModelConfig& config, std::int64_t layer,
                                const std::vector<float>& queries, const std::vector<float>& keys,
                                const std::vector<float>& values, std::int64_t rows) {
  std::vector<float> out(queries.size());
  attend_prompt({rows, config.heads, config.kv_heads, config.head_dim,
                 config.sliding_window[static_cast<std::size_t>(layer)], queries.data(), keys.data(),
                 values.data(), out.data()});
  return out;
}

}  // namespace

const ModelConfig& Transformer::config() const { return shared_->config; }

const BlockWeights& Transformer::block(std::int64_t layer) const {
  return *blocks_.at(static_cast<std::size_t>(layer));
}

void Transformer::set_linear(std::int64_t layer, LinearSlot slot, std::shared_ptr<const LinearOp> linear) {
  const LinearShape shape = linear_shape(config(), slot);
  require(linear != nullptr && linear->out_features() == shape.out && linear->in_features() == shape.in,
          "a replaced linear layer keeps its shape");
  auto changed = std::make_shared<BlockWeights>(block(layer));
  changed->linear[index_of(slot)] = std::move(linear);
  blocks_[static_cast<std::size_t>(layer)] = std::move(changed);
}

void Transformer::set_norms(std::int64_t layer, std::vector<float> input_norm,
                            std::vector<float> post_attention_norm) {
  const auto hidden = static_cast<std::size_t>(config().hidden);
  require(input_norm.size() == hidden && post_attention_norm.size() == hidden,
          "a replaced norm keeps its width");
  auto changed = std::make_shared<BlockWeights>(block(layer));
  changed->input_norm = std::move(input_norm);
  changed->post_attention_norm = std::move(post_attention_norm);
  blocks_[static_cast<std::size_t>(layer)] = std::move(changed);
}

void Transformer::set_block(std::int64_t layer, BlockWeights weights) {
  const BlockWeights& old = block(layer);
  bool same = weights.input_norm.size() == old.input_norm.size() &&
              weights.post_attention_norm.size() == old.post_attention_norm.size() &&
              weights.q_norm.size() == old.q_norm.size() && weights.k_norm.size() == old.k_norm.size();
  for (std::size_t i = 0; i < linear_slots; ++i) {
    same = same && weights.bias[i].size() == old.bias[i].size() &&
           (weights.linear[i] == nullptr) == (old.linear[i] == nullptr) &&
           (old.linear[i] == nullptr || (weights.linear[i]->out_features() == old.linear[i]->out_features() &&
                                         weights.linear[i]->in_features() == old.linear[i]->in_features()));
  }
  require(same, "a replaced block keeps its shapes");
  blocks_[static_cast<std::size_t>(layer)] = std::make_shared<BlockWeights>(std::move(weights));
}

void Transformer::set_dropped(std::int64_t layer, bool attention, bool mlp) {
  auto changed = std::make_shared<BlockWeights>(block(layer));
  changed->attention_dropped = attention;
  changed->mlp_dropped = mlp;
  blocks_[static_cast<std::size_t>(layer)] = std::move(changed);
}

std::vector<float> Transformer::embed(std::span<const std::int32_t> tokens) const {
  const auto width = static_cast<std::size_t>(config().hidden);
  std::vector<float> hidden(tokens.size() * width);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config().vocabulary) {
      fail(ErrorKind::input,
           fmt::format("token id {} lies outside the model's vocabulary of {}", tokens[i],
                       config().vocabulary),
           {}, "the tokenizer belongs to another model");
    }
    shared_->embeddings->expand_rows(tokens[i], tokens[i] + 1, hidden.data() + i * width);
  }
  return hidden;
}

std::vector<float> Transformer::attended(std::int64_t layer, const std::vector<float>& x, std::int64_t rows,
                                         KvCache* cache) const {
  const ModelConfig& config = shared_->config;
  const BlockWeights& weights = block(layer);
  const std::int64_t first_position = cache == nullptr ? 0 : cache->length();
  std::vector<float> queries = project(weights, LinearSlot::q, x, rows);
  std::vector<float> keys = project(weights, LinearSlot::k, x, rows);
  const std::vector<float> values = project(weights, LinearSlot::v, x, rows);
  std::vector<float> cosine, sine;
  shared_->rope.fill(first_position, rows, cosine, sine);
  place_heads(queries, rows, config.heads, config, weights.q_norm, cosine, sine);
  place_heads(keys, rows, config.kv_heads, config, weights.k_norm, cosine, sine);
  if (cache == nullptr) return attention_of(config, layer, queries, keys, values, rows);
  std::vector<float> out(queries.size());
  cache->attend(layer, {rows, first_position, keys.data(), values.data(), queries.data(), x.data()},
                out.data());
  return out;
}

std::vector<float> Transformer::gated(std::int64_t layer, const std::vector<float>& x,
                                      std::int64_t rows) const {
  const std::int64_t width = config().intermediate;
  std::vector<float> gate = project(block(layer), LinearSlot::gate, x, rows);
  const std::vector<float> up = project(block(layer), LinearSlot::up, x, rows);
  parallel_tiles(rows, step_rows, [&](std::int64_t begin, std::int64_t end) {
    silu_multiply(gate.data() + begin * width, up.data() + begin * width, (end - begin) * width);
  });
  return gate;
}

std::vector<float> Transformer::linear_input(std::int64_t layer, LinearSlot lead, const float* hidden,
                                             std::int64_t rows) const {
  const BlockWeights& weights = block(layer);
  const bool attention = lead <= LinearSlot::o;
  std::vector<float> x =
      normed(hidden, rows, config().hidden, attention ? weights.input_norm : weights.post_attention_norm,
             config().rms_norm_eps);
  if (lead == LinearSlot::o) return attended(layer, x, rows, nullptr);
  if (lead == LinearSlot::down) return gated(layer, x, rows);
  return x;
}

void Transformer::add_output(std::int64_t layer, LinearSlot slot, const std::vector<float>& x, float* hidden,
                             std::int64_t rows) const {
  require(slot == LinearSlot::o || slot == LinearSlot::down, "o and down write to the residual stream");
  add_to(hidden, project(block(layer), slot, x, rows));
}

void Transformer::run_block(std::int64_t layer, float* hidden, std::int64_t rows, KvCache* cache,
                            const LinearObserver* observer) const {
  const ModelConfig& config = shared_->config;
  const BlockWeights& weights = block(layer);
  if (rows == 0) return;
  const auto observe = [&](LinearSlot slot, const std::vector<float>& x) {
    if (observer != nullptr)
      (*observer)(layer, slot, x.data(), rows, static_cast<std::int64_t>(x.size()) / rows);
  };
  if (weights.attention_dropped) {
    if (cache != nullptr) {
      LayerRows tokens;
      tokens.rows = rows;
      tokens.first_position = cache->length();
      cache->attend(layer, tokens, nullptr);
    }
  } else {
    const auto x = normed(hidden, rows, config.hidden, weights.input_norm, config.rms_norm_eps);
    observe(LinearSlot::q, x);
    const std::vector<float> mixed = attended(layer, x, rows, cache);
    observe(LinearSlot::o, mixed);
    add_output(layer, LinearSlot::o, mixed, hidden, rows);
  }
  if (weights.mlp_dropped) return;
  const std::int64_t piece = observer != nullptr ? rows : mlp_rows;
  for (std::int64_t begin = 0; begin < rows; begin += piece) {
    const std::int64_t here = std::min(piece, rows - begin);
    float* part = hidden + begin * config.hidden;
    const auto x = normed(part, here, config.hidden, weights.post_attention_norm, config.rms_norm_eps);
    observe(LinearSlot::gate, x);
    const std::vector<float> gate = gated(layer, x, here);
    observe(LinearSlot::down, gate);
    add_output(layer, LinearSlot::down, gate, part, here);
  }
}

void Transformer::head(const float* hidden, std::int64_t rows, float* logits) const {
  const auto x = normed(hidden, rows, config().hidden, shared_->final_norm, config().rms_norm_eps);
  shared_->head->multiply(x.data(), rows, logits);
}

std::vector<float> Transformer::forward(std::span<const std::int32_t> tokens, KvCache* cache,
                                        bool last_only) const {
  if (tokens.empty()) fail(ErrorKind::usage, "no tokens to run the model on");
  const auto rows = static_cast<std::int64_t>(tokens.size());
  std::vector<float> hidden = embed(tokens);
  for (std::int64_t layer = 0; layer < config().layers; ++layer) {
    throw_if_interrupted();  // a long prompt takes its time
    run_block(layer, hidden.data(), rows, cache);
  }
  const std::int64_t wanted = last_only ? 1 : rows;
  std::vector<float> logits(static_cast<std::size_t>(wanted * config().vocabulary));
  head(hidden.data() + (rows - wanted) * config().hidden, wanted, logits.data());
  return logits;
}

KvShape Transformer::kv_shape() const {
  const ModelConfig& c = config();
  return {c.layers,
          c.kv_heads,
          c.heads,
          c.head_dim,
          c.hidden,
          c.sliding_window,
          std::shared_ptr<const RopeTable>(shared_, &shared_->rope)};
}

std::unique_ptr<KvCache> Transformer::make_cache() const { return make_exact_cache(kv_shape()); }

std::uint64_t Transformer::resident_bytes() const {
  const auto f32_bytes = [](const std::vector<float>& values) { return values.size() * sizeof(float); };
  std::uint64_t sum = shared_->embeddings->resident_bytes() + f32_bytes(shared_->final_norm);
  if (!config().tied_embeddings) sum += shared_->head->resident_bytes();
  for (const auto& block : blocks_) {
    for (std::size_t slot = 0; slot < linear_slots; ++slot) {
      if (block->linear[slot] != nullptr) sum += block->linear[slot]->resident_bytes();
      sum += f32_bytes(block->bias[slot]);
    }
    sum += f32_bytes(block->input_norm) + f32_bytes(block->post_attention_norm) + f32_bytes(block->q_norm) +
           f32_bytes(block->k_norm);
  }
  return sum;
}

}  // namespace laconic
