#include "lab/methods/bytescale/decoder_pass.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/error.h"
#include "lab/fused.h"

namespace laconic::lab {
namespace {

constexpr std::int64_t loss_rows = 256;  // of logits at once

// What a layer keeps.
enum Saved { input, queries, keys, values, mixed, log_sums, middle, gate, up };

class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  ~Stopwatch() { sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  double& sum_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

std::span<float> numbers(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

// Gradient of rms_norm for x; adds that of the weight.
at::Tensor rms_norm_backward(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                             const at::Tensor& dy, at::Tensor& dweight) {
  const at::Tensor scale = at::rsqrt(x.square().mean(-1, true) + epsilon);
  const at::Tensor normed = x * scale, pull = dy * weight;
  dweight.add_((dy * normed).sum(0));
  return scale * (pull - normed * (pull * normed).mean(-1, true));
}

// Of y = x W^T: adds dy^T x, returns dy W.
at::Tensor linear_backward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& dy,
                           at::Tensor& dweight) {
  dweight.addmm_(dy.t(), x);
  return at::mm(dy, weight);
}

int slot(LinearSlot which) { return static_cast<int>(which); }

}  // namespace

DecoderPass::DecoderPass(LanguageModel& model, std::vector<at::Tensor> gradients) : model_(model) {
  const ModelConfig& config = model.config();
  require(config.tied_embeddings && !config.qkv_bias && !config.output_bias && !config.mlp_bias &&
              !config.qk_norm && config.sliding_window.empty(),
          "a plain decoder with one table");
  shape_ = {config.heads, config.kv_heads, config.head_dim,
            1 / std::sqrt(static_cast<float>(config.head_dim))};
  const auto parameters = model.parameters();
  require(parameters.size() == gradients.size(), "a gradient for every parameter");
  // The order of LanguageModel::parameters().
  std::size_t next = 0;
  embedding_ = *parameters[next].second;
  embedding_gradient_ = gradients[next++];
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    LayerGradients of;
    of.input_norm = gradients[next++];
    for (const LinearSlot which : {LinearSlot::q, LinearSlot::k, LinearSlot::v, LinearSlot::o})
      of.linear[slot(which)] = gradients[next++];
    of.post_attention_norm = gradients[next++];
    for (const LinearSlot which : {LinearSlot::gate, LinearSlot::up, LinearSlot::down})
      of.linear[slot(which)] = gradients[next++];
    gradients_.push_back(std::move(of));
  }
  final_norm_ = *parameters[next].second;
  final_norm_gradient_ = gradients[next++];
  require(next == gradients.size(), "nothing but these parameters");

  const at::Tensor place = at::arange(config.max_positions, at::kDouble).unsqueeze(1);
  const at::Tensor turn =
      at::pow(config.rope_theta, at::arange(0, config.head_dim, 2, at::kDouble) / -config.head_dim);
  const at::Tensor angle = place * turn;
  cosine_ = at::cat({angle.cos(), angle.cos()}, 1).unsqueeze(1).to(at::kFloat);
  sine_ = at::cat({-angle.sin(), angle.sin()}, 1).unsqueeze(1).to(at::kFloat);
}

double DecoderPass::run(const SlotWork& work, OffloadStore& store) {
  const auto pieces = ring_pieces(work.lengths, work.group.members.size(), work.group.member);
  const std::int64_t rows = ring_rows(work.lengths, work.group.members.size(), work.group.member);
  const std::int64_t layers = model_.config().layers;
  const at::Tensor ids = at::empty({rows}, at::kLong), targets = at::empty({rows}, at::kLong),
                   positions = at::empty({rows}, at::kLong);
  for (const RingPiece& piece : pieces) {
    const auto tokens = work.tokens[piece.sequence];
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const auto at = static_cast<std::size_t>(piece.position + i);
      ids.data_ptr<std::int64_t>()[piece.row + i] = tokens[at];
      targets.data_ptr<std::int64_t>()[piece.row + i] = tokens[at + 1];
      positions.data_ptr<std::int64_t>()[piece.row + i] = piece.position + i;
    }
  }
  row_cosine_ = cosine_.index_select(0, positions);
  row_sine_ = sine_.index_select(0, positions);
  at::Tensor hidden;
  {
    const Stopwatch watch(seconds_.head);
    hidden = embedding_.index_select(0, ids);
  }
  {
    const Stopwatch watch(seconds_.forward);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const bool inner = layer > 0 && layer + 1 < layers;
      hidden = forward_layer(layer, hidden, work, inner ? work.ratio : 0, store);
    }
  }
  double loss = 0;
  at::Tensor gradient;
  {
    const Stopwatch watch(seconds_.head);
    loss = head(hidden, targets, gradient);
  }
  {
    const Stopwatch watch(seconds_.backward);
    for (std::int64_t layer = layers - 1; layer >= 0; --layer) {
      if (layer > 0) store.prefetch(layer - 1);
      gradient = backward_layer(layer, gradient, work, store);
    }
  }
  const Stopwatch watch(seconds_.head);
  embedding_gradient_.index_add_(0, ids, gradient);
  return loss;
}

at::Tensor DecoderPass::forward_layer(std::int64_t layer, const at::Tensor& x, const SlotWork& work,
                                      double ratio, OffloadStore& store) {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  const ModelConfig& config = model_.config();
  const std::int64_t rows = x.size(0);
  const auto weight = [&](LinearSlot which) { return block.linear[slot(which)].t(); };
  const auto turned = [&](const at::Tensor& y, std::int64_t heads) {
    return rotate(y.view({1, rows, heads, config.head_dim}), row_cosine_, row_sine_)
        .view({rows, heads * config.head_dim});
  };
  const auto keep = [&](Saved which, const at::Tensor& tensor) { store.keep(layer, which, tensor, ratio); };
  const at::Tensor normed = rms_norm(x, block.input_norm, config.rms_norm_eps);
  const at::Tensor q = turned(at::mm(normed, weight(LinearSlot::q)), config.heads);
  const at::Tensor k = turned(at::mm(normed, weight(LinearSlot::k)), config.kv_heads);
  const at::Tensor v = at::mm(normed, weight(LinearSlot::v));
  const at::Tensor out = at::empty_like(q), sums = at::empty({config.heads, rows});
  ring_attention(shape_, work.lengths, work.group,
                 {numbers(q), numbers(k), numbers(v), numbers(out), numbers(sums)});
  const at::Tensor between = at::addmm(x, out, weight(LinearSlot::o));
  const at::Tensor second = rms_norm(between, block.post_attention_norm, config.rms_norm_eps);
  const at::Tensor gated = at::mm(second, weight(LinearSlot::gate)),
                   raised = at::mm(second, weight(LinearSlot::up));
  keep(input, x);
  keep(queries, q);
  keep(keys, k);
  keep(values, v);
  keep(mixed, out);
  store.keep(layer, log_sums, sums, 0);
  keep(middle, between);
  keep(gate, gated);
  keep(up, raised);
  return at::addmm(between, swiglu(gated, raised), weight(LinearSlot::down));
}

at::Tensor DecoderPass::backward_layer(std::int64_t layer, const at::Tensor& dy, const SlotWork& work,
                                       OffloadStore& store) {
  const Block& block = model_.blocks()[static_cast<std::size_t>(layer)];
  LayerGradients& to = gradients_[static_cast<std::size_t>(layer)];
  const ModelConfig& config = model_.config();
  const auto through = [&](LinearSlot which, const at::Tensor& x, const at::Tensor& gradient) {
    return linear_backward(x, block.linear[slot(which)], gradient, to.linear[slot(which)]);
  };
  const at::Tensor u = store.take(layer, up), g = store.take(layer, gate);
  const at::Tensor between = store.take(layer, middle);
  const at::Tensor share = at::sigmoid(g), silu = g * share;
  const at::Tensor dgated = through(LinearSlot::down, silu * u, dy);
  const at::Tensor second = rms_norm(between, block.post_attention_norm, config.rms_norm_eps);
  at::Tensor dsecond = through(LinearSlot::up, second, dgated * silu);
  dsecond += through(LinearSlot::gate, second, dgated * u * share * (1 + g * (1 - share)));
  const at::Tensor dbetween = dy + rms_norm_backward(between, block.post_attention_norm, config.rms_norm_eps,
                                                     dsecond, to.post_attention_norm);

  const at::Tensor out = store.take(layer, mixed), sums = store.take(layer, log_sums);
  const at::Tensor v = store.take(layer, values), k = store.take(layer, keys), q = store.take(layer, queries);
  const at::Tensor dout = through(LinearSlot::o, out, dbetween);
  const at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
  ring_attention_backward(shape_, work.lengths, work.group,
                          {numbers(q), numbers(k), numbers(v), numbers(out), numbers(sums), numbers(dout),
                           numbers(dq), numbers(dk), numbers(dv)});
  const std::int64_t rows = q.size(0);
  // A rotation's transpose turns the other way.
  const auto turned_back = [&](const at::Tensor& gradient, std::int64_t heads) {
    return rotate(gradient.view({1, rows, heads, config.head_dim}), row_cosine_, -row_sine_)
        .view({rows, heads * config.head_dim});
  };
  const at::Tensor x = store.take(layer, input);
  const at::Tensor normed = rms_norm(x, block.input_norm, config.rms_norm_eps);
  at::Tensor dnormed = through(LinearSlot::q, normed, turned_back(dq, config.heads));
  dnormed += through(LinearSlot::k, normed, turned_back(dk, config.kv_heads));
  dnormed += through(LinearSlot::v, normed, dv);
  return dbetween + rms_norm_backward(x, block.input_norm, config.rms_norm_eps, dnormed, to.input_norm);
}

double DecoderPass::head(const at::Tensor& hidden, const at::Tensor& targets, at::Tensor& dhidden) {
  const double epsilon = model_.config().rms_norm_eps;
  const at::Tensor normed = rms_norm(hidden, final_norm_, epsilon);
  const std::int64_t rows = hidden.size(0), vocabulary = embedding_.size(0);
  const at::Tensor dnormed = at::empty_like(hidden);
  double loss = 0;
  for (std::int64_t first = 0; first < rows; first += loss_rows) {
    const std::int64_t count = std::min(loss_rows, rows - first);
    const at::Tensor part = normed.narrow(0, first, count);
    const at::Tensor logits = at::mm(part, embedding_.t());
    float* row = logits.data_ptr<float>();
    for (std::int64_t i = 0; i < count; ++i, row += vocabulary) {
      const std::int64_t target = targets.data_ptr<std::int64_t>()[first + i];
      const float top = *std::max_element(row, row + vocabulary), wanted = row[target];
      double sum = 0;
      for (std::int64_t c = 0; c < vocabulary; ++c) sum += row[c] = std::exp(row[c] - top);
      loss += std::log(sum) + top - wanted;
      const auto inverse = static_cast<float>(1 / sum);
      for (std::int64_t c = 0; c < vocabulary; ++c) row[c] *= inverse;
      row[target] -= 1;
    }
    embedding_gradient_.addmm_(logits.t(), part);
    dnormed.narrow(0, first, count).copy_(at::mm(logits, embedding_));
  }
  dhidden = rms_norm_backward(hidden, final_norm_, epsilon, dnormed, final_norm_gradient_);
  return loss;
}

}  // namespace laconic::lab
