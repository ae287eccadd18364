#include "methods/gradients/t3/tensor_parallel_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/math/blas.h"
#include "engine/math/random_fill.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic::t3 {
// Of the model's state, so they have a name.
namespace parts {

constexpr std::int64_t vocabulary = 256;
constexpr float norm_epsilon = 1e-5f;
constexpr float momentum = 0.9f;

using Numbers = std::vector<float>;

Numbers zeros(std::int64_t count) { return Numbers(static_cast<std::size_t>(count), 0.0f); }

// A weight, its gradient and its velocity.
struct Weight {
  Numbers value, gradient, velocity;

  Weight() = default;
  Weight(std::int64_t count, float start) : value(static_cast<std::size_t>(count), start) { allocate(); }
  // Normal numbers; `name` is the same on ranks that hold the same weight.
  Weight(std::int64_t count, float scale, std::uint64_t seed, const std::string& name) : value(zeros(count)) {
    random_gaussians(RandomStream(seed, "tensor parallel model", name), value);
    for (float& number : value) number *= scale;
    allocate();
  }
  void allocate() {
    gradient.assign(value.size(), 0.0f);
    velocity.assign(value.size(), 0.0f);
  }
  void step(float rate) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      velocity[i] = momentum * velocity[i] + gradient[i];
      value[i] -= rate * velocity[i];
    }
  }
};

struct Norm {
  Weight gain, bias;
  Numbers scaled, inverse;  // of the last forward pass

  Norm() = default;
  explicit Norm(std::int64_t hidden) : gain(hidden, 1.0f), bias(hidden, 0.0f) {}

  Numbers forward(const Numbers& x, std::int64_t hidden) {
    const std::int64_t rows = static_cast<std::int64_t>(x.size()) / hidden;
    scaled = x;
    inverse = zeros(rows);
    Numbers y(x.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      float* row = scaled.data() + r * hidden;
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < hidden; ++i) sum += row[i];
      const auto mean = static_cast<float>(sum / static_cast<double>(hidden));
      for (std::int64_t i = 0; i < hidden; ++i) {
        row[i] -= mean;
        squares += static_cast<double>(row[i]) * row[i];
      }
      const float factor =
          1 / std::sqrt(static_cast<float>(squares / static_cast<double>(hidden)) + norm_epsilon);
      inverse[static_cast<std::size_t>(r)] = factor;
      for (std::int64_t i = 0; i < hidden; ++i) {
        row[i] *= factor;
        y[static_cast<std::size_t>(r * hidden + i)] =
            row[i] * gain.value[static_cast<std::size_t>(i)] + bias.value[static_cast<std::size_t>(i)];
      }
    }
    return y;
  }

  // Adds to dx; gradients of gain and bias are those of these rows.
  void backward(std::span<const float> dy, std::int64_t hidden, Numbers& dx) {
    std::fill(gain.gradient.begin(), gain.gradient.end(), 0.0f);
    std::fill(bias.gradient.begin(), bias.gradient.end(), 0.0f);
    const std::int64_t rows = static_cast<std::int64_t>(dy.size()) / hidden;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* given = dy.data() + r * hidden;
      const float* row = scaled.data() + r * hidden;
      double sum = 0, product = 0;
      for (std::int64_t i = 0; i < hidden; ++i) {
        const auto at = static_cast<std::size_t>(i);
        gain.gradient[at] += given[i] * row[i];
        bias.gradient[at] += given[i];
        const float d = given[i] * gain.value[at];
        sum += d;
        product += static_cast<double>(d) * row[i];
      }
      const auto mean = static_cast<float>(sum / static_cast<double>(hidden)),
                 slope = static_cast<float>(product / static_cast<double>(hidden));
      for (std::int64_t i = 0; i < hidden; ++i) {
        const float d = given[i] * gain.value[static_cast<std::size_t>(i)];
        dx[static_cast<std::size_t>(r * hidden + i)] +=
            inverse[static_cast<std::size_t>(r)] * (d - mean - row[i] * slope);
      }
    }
  }
};

struct Layer {
  Norm before_attention, before_feed;
  Weight qkv, out, up, down;               // [H, 3 h], [h, H], [H, 4 h], [4 h, H]
  Numbers y, projected, mixed, z, lifted;  // of the last forward pass
  Numbers weights;                         // of attention: [sequence, head, context, context]
};

void add(Numbers& to, std::span<const float> from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

}  // namespace parts

using namespace parts;

struct TensorParallelModel::State {
  TensorParallelShape shape;
  int rank, ranks;
  std::int64_t hidden, own_hidden, own_heads, head_dim, tokens, own_tokens, first_token;
  GemmReduceScatter exchanged;
  PackedColumns packed;
  Weight embedding, position, head;  // the same on every rank
  Norm last_norm;
  std::vector<Layer> layers;

  State(const TensorParallelShape& s, int r, int w, std::uint64_t seed, const OverlapPlan& plan)
      : shape(s),
        rank(r),
        ranks(w),
        hidden(s.hidden),
        own_hidden(s.hidden / w),
        own_heads(s.heads / w),
        head_dim(s.hidden / s.heads),
        tokens(s.tokens()),
        own_tokens(tokens / w),
        first_token(ring_part_of(r, w) * own_tokens),
        exchanged(r, w, tokens, s.hidden, plan),
        embedding(vocabulary * hidden, 0.5f, seed, "embedding"),
        position(s.context * hidden, 0.5f, seed, "position"),
        head(hidden * vocabulary, 1 / std::sqrt(static_cast<float>(hidden)), seed, "head"),
        last_norm(hidden) {
    const float scale = 1 / std::sqrt(static_cast<float>(hidden));
    for (std::int64_t i = 0; i < s.layers; ++i) {
      const auto named = [&](const char* what) { return fmt::format("layer {} {} rank {}", i, what, r); };
      Layer layer;
      layer.before_attention = Norm(hidden);
      layer.before_feed = Norm(hidden);
      layer.qkv = Weight(hidden * 3 * own_hidden, scale, seed, named("qkv"));
      layer.out = Weight(own_hidden * hidden, scale / 2, seed, named("out"));
      layer.up = Weight(hidden * 4 * own_hidden, scale, seed, named("up"));
      layer.down = Weight(4 * own_hidden * hidden, scale / 4, seed, named("down"));
      layers.push_back(std::move(layer));
    }
  }

  // [m, n] = op(a) op(b)
  static Numbers times(Transpose form_a, Transpose form_b, std::int64_t m, std::int64_t n, std::int64_t k,
                       const Numbers& a, const Numbers& b) {
    Numbers c = zeros(m * n);
    gemm(form_a, form_b, m, n, k, 1.0f, a.data(), form_a == Transpose::no ? k : m, b.data(),
         form_b == Transpose::no ? n : k, 0.0f, c.data(), n);
    return c;
  }

  // All rows, from every rank's own.
  Numbers gathered(const Numbers& own, CommunicationThread& thread) const {
    Numbers all = zeros(tokens * hidden);
    thread.run("all-gather", [&](Communicator& communicator) {
      const auto* raw = reinterpret_cast<const std::byte*>(own.data());
      const std::vector<Bytes> parts = all_gather(communicator, Bytes(raw, raw + own.size() * sizeof(float)));
      for (int from = 0; from < ranks; ++from) {
        const Bytes& part = parts[static_cast<std::size_t>(from)];
        require(part.size() == own.size() * sizeof(float), "ranks have as many rows");
        std::memcpy(all.data() + ring_part_of(from, ranks) * own_tokens * hidden, part.data(), part.size());
      }
    });
    return all;
  }

  // This rank's rows of the sum over ranks of a w, or a w^T.
  std::span<const float> summed(const Numbers& a, const Numbers& w, std::int64_t depth, bool transposed,
                                CommunicationThread& thread) {
    packed.pack(w.data(), transposed ? depth : hidden, depth, hidden, transposed);
    exchanged.run(a.data(), depth, packed, thread);
    return exchanged.own_rows();
  }

  template <class Body>
  void for_heads(const Body& body) const {
    for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
      for (std::int64_t one = 0; one < own_heads; ++one) body(sequence, one);
    }
  }
  float* weights_of(Layer& layer, std::int64_t sequence, std::int64_t one) const {
    return layer.weights.data() + (sequence * own_heads + one) * shape.context * shape.context;
  }

  void attend(Layer& layer) const {
    const std::int64_t n = shape.context, stride = 3 * own_hidden;
    layer.weights = zeros(shape.sequences * own_heads * n * n);
    layer.mixed = zeros(tokens * own_hidden);
    const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
    for_heads([&](std::int64_t sequence, std::int64_t one) {
      const float* q = layer.projected.data() + sequence * n * stride + one * head_dim;
      float* weights = weights_of(layer, sequence, one);
      gemm(Transpose::no, Transpose::yes, n, n, head_dim, scale, q, stride, q + own_hidden, stride, 0.0f,
           weights, n);
      for (std::int64_t i = 0; i < n; ++i) {
        float* row = weights + i * n;
        const float most = *std::max_element(row, row + i + 1);
        float sum = 0;
        for (std::int64_t j = 0; j <= i; ++j) sum += row[j] = std::exp(row[j] - most);
        for (std::int64_t j = 0; j <= i; ++j) row[j] /= sum;
        std::fill(row + i + 1, row + n, 0.0f);
      }
      gemm(Transpose::no, Transpose::no, n, head_dim, n, 1.0f, weights, n, q + 2 * own_hidden, stride, 0.0f,
           layer.mixed.data() + sequence * n * own_hidden + one * head_dim, own_hidden);
    });
  }

  Numbers attend_backward(Layer& layer, const Numbers& dmixed) const {
    const std::int64_t n = shape.context, stride = 3 * own_hidden;
    Numbers dprojected = zeros(tokens * stride), dweights = zeros(n * n);
    const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
    for_heads([&](std::int64_t sequence, std::int64_t one) {
      const float* q = layer.projected.data() + sequence * n * stride + one * head_dim;
      float* dq = dprojected.data() + sequence * n * stride + one * head_dim;
      const float* d = dmixed.data() + sequence * n * own_hidden + one * head_dim;
      float* weights = weights_of(layer, sequence, one);
      gemm(Transpose::yes, Transpose::no, n, head_dim, n, 1.0f, weights, n, d, own_hidden, 0.0f,
           dq + 2 * own_hidden, stride);
      gemm(Transpose::no, Transpose::yes, n, n, head_dim, 1.0f, d, own_hidden, q + 2 * own_hidden, stride,
           0.0f, dweights.data(), n);
      for (std::int64_t i = 0; i < n; ++i) {
        float* row = dweights.data() + i * n;
        const float* weight = weights + i * n;
        float sum = 0;
        for (std::int64_t j = 0; j <= i; ++j) sum += row[j] * weight[j];
        for (std::int64_t j = 0; j < n; ++j) row[j] = j <= i ? weight[j] * (row[j] - sum) : 0.0f;
      }
      gemm(Transpose::no, Transpose::no, n, head_dim, n, scale, dweights.data(), n, q + own_hidden, stride,
           0.0f, dq, stride);
      gemm(Transpose::yes, Transpose::no, n, head_dim, n, scale, dweights.data(), n, q, stride, 0.0f,
           dq + own_hidden, stride);
    });
    return dprojected;
  }

  void forward(Layer& layer, Numbers& x, CommunicationThread& thread) {
    layer.y = gathered(layer.before_attention.forward(x, hidden), thread);
    layer.projected =
        times(Transpose::no, Transpose::no, tokens, 3 * own_hidden, hidden, layer.y, layer.qkv.value);
    attend(layer);
    add(x, summed(layer.mixed, layer.out.value, own_hidden, false, thread));
    layer.z = gathered(layer.before_feed.forward(x, hidden), thread);
    layer.lifted =
        times(Transpose::no, Transpose::no, tokens, 4 * own_hidden, hidden, layer.z, layer.up.value);
    for (float& value : layer.lifted) value = std::max(value, 0.0f);
    add(x, summed(layer.lifted, layer.down.value, 4 * own_hidden, false, thread));
  }

  void backward(Layer& layer, Numbers& dx, CommunicationThread& thread) {
    const Numbers ddown = gathered(dx, thread);
    layer.down.gradient =
        times(Transpose::yes, Transpose::no, 4 * own_hidden, hidden, tokens, layer.lifted, ddown);
    Numbers dlifted =
        times(Transpose::no, Transpose::yes, tokens, 4 * own_hidden, hidden, ddown, layer.down.value);
    for (std::size_t i = 0; i < dlifted.size(); ++i) dlifted[i] = layer.lifted[i] > 0 ? dlifted[i] : 0.0f;
    layer.up.gradient =
        times(Transpose::yes, Transpose::no, hidden, 4 * own_hidden, tokens, layer.z, dlifted);
    layer.before_feed.backward(summed(dlifted, layer.up.value, 4 * own_hidden, true, thread), hidden, dx);

    const Numbers dout = gathered(dx, thread);
    layer.out.gradient = times(Transpose::yes, Transpose::no, own_hidden, hidden, tokens, layer.mixed, dout);
    const Numbers dmixed =
        times(Transpose::no, Transpose::yes, tokens, own_hidden, hidden, dout, layer.out.value);
    const Numbers dprojected = attend_backward(layer, dmixed);
    layer.qkv.gradient =
        times(Transpose::yes, Transpose::no, hidden, 3 * own_hidden, tokens, layer.y, dprojected);
    layer.before_attention.backward(summed(dprojected, layer.qkv.value, 3 * own_hidden, true, thread), hidden,
                                    dx);
  }

  // Weights that every rank has; their gradients are sums over the ranks' rows.
  std::vector<Weight*> shared_weights() {
    std::vector<Weight*> all = {&embedding, &position, &head, &last_norm.gain, &last_norm.bias};
    for (Layer& layer : layers) {
      for (Norm* norm : {&layer.before_attention, &layer.before_feed}) {
        all.push_back(&norm->gain);
        all.push_back(&norm->bias);
      }
    }
    return all;
  }

  void sum_shared(double& loss, CommunicationThread& thread) {
    Numbers all;
    for (const Weight* weight : shared_weights())
      all.insert(all.end(), weight->gradient.begin(), weight->gradient.end());
    all.push_back(static_cast<float>(loss));
    thread.run("all-reduce", [&](Communicator& communicator) { all_reduce_sum(communicator, all); });
    std::size_t at = 0;
    for (Weight* weight : shared_weights()) {
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(at), weight->gradient.size(),
                  weight->gradient.begin());
      at += weight->gradient.size();
    }
    loss = all.back();
  }

  double step(std::span<const unsigned char> text, double rate, CommunicationThread& thread) {
    require(text.size() >= static_cast<std::size_t>(shape.sequences * (shape.context + 1)),
            "there is a byte for every token and target");
    const auto token_of = [&](std::int64_t row, std::int64_t ahead) {
      return static_cast<std::int64_t>(text[static_cast<std::size_t>(
          row / shape.context * (shape.context + 1) + row % shape.context + ahead)]);
    };
    Numbers x = zeros(own_tokens * hidden);
    for (std::int64_t r = 0; r < own_tokens; ++r) {
      const float* token = embedding.value.data() + token_of(first_token + r, 0) * hidden;
      const float* place = position.value.data() + (first_token + r) % shape.context * hidden;
      for (std::int64_t i = 0; i < hidden; ++i)
        x[static_cast<std::size_t>(r * hidden + i)] = token[i] + place[i];
    }
    for (Layer& layer : layers) forward(layer, x, thread);
    const Numbers last = last_norm.forward(x, hidden);
    Numbers scores = times(Transpose::no, Transpose::no, own_tokens, vocabulary, hidden, last, head.value);
    double loss = 0;
    for (std::int64_t r = 0; r < own_tokens; ++r) {
      float* row = scores.data() + r * vocabulary;
      const std::int64_t target = token_of(first_token + r, 1);
      const float most = *std::max_element(row, row + vocabulary);
      double sum = 0;
      for (std::int64_t i = 0; i < vocabulary; ++i) sum += std::exp(row[i] - most);
      loss += (std::log(sum) + most - row[target]) / static_cast<double>(tokens);
      for (std::int64_t i = 0; i < vocabulary; ++i) {
        row[i] = static_cast<float>((std::exp(row[i] - most) / sum - (i == target ? 1 : 0)) /
                                    static_cast<double>(tokens));
      }
    }
    head.gradient = times(Transpose::yes, Transpose::no, hidden, vocabulary, own_tokens, last, scores);
    const Numbers dlast =
        times(Transpose::no, Transpose::yes, own_tokens, hidden, vocabulary, scores, head.value);
    Numbers dx = zeros(own_tokens * hidden);
    last_norm.backward(dlast, hidden, dx);
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) backward(*layer, dx, thread);
    std::fill(embedding.gradient.begin(), embedding.gradient.end(), 0.0f);
    std::fill(position.gradient.begin(), position.gradient.end(), 0.0f);
    for (std::int64_t r = 0; r < own_tokens; ++r) {
      float* token = embedding.gradient.data() + token_of(first_token + r, 0) * hidden;
      float* place = position.gradient.data() + (first_token + r) % shape.context * hidden;
      for (std::int64_t i = 0; i < hidden; ++i) {
        token[i] += dx[static_cast<std::size_t>(r * hidden + i)];
        place[i] += dx[static_cast<std::size_t>(r * hidden + i)];
      }
    }
    sum_shared(loss, thread);
    const auto factor = static_cast<float>(rate);
    for (Weight* weight : shared_weights()) weight->step(factor);
    for (Layer& layer : layers) {
      for (Weight* weight : {&layer.qkv, &layer.out, &layer.up, &layer.down}) weight->step(factor);
    }
    return loss;
  }
};

TensorParallelModel::TensorParallelModel(const TensorParallelShape& shape, int rank, int ranks,
                                         std::uint64_t seed, const OverlapPlan& plan) {
  if (shape.layers < 1 || shape.heads < 1 || shape.context < 1 || shape.sequences < 1 ||
      shape.hidden % shape.heads != 0 || shape.heads % ranks != 0 || shape.tokens() % ranks != 0) {
    fail(ErrorKind::usage,
         fmt::format("{} heads, a hidden size of {} and {} tokens do not split over {} ranks", shape.heads,
                     shape.hidden, shape.tokens(), ranks),
         "tensor parallel model");
  }
  state_ = std::make_unique<State>(shape, rank, ranks, seed, plan);
}

TensorParallelModel::~TensorParallelModel() = default;

double TensorParallelModel::step(std::span<const unsigned char> text, double rate,
                                 CommunicationThread& thread) {
  return state_->step(text, rate, thread);
}

}  // namespace laconic::t3
