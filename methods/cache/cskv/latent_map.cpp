#include "methods/cache/cskv/latent_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/math/top_k.h"
#include "runtime/dense_kernel.h"
#include "runtime/rope.h"
#include "runtime/row_kernel.h"

namespace laconic::cskv {
namespace {

constexpr std::int64_t rebuilt_rows = 64;    // keys that are made anew at a time
constexpr std::int64_t projected_rows = 16;  // rows of one task of a projection

// One side of one layer.
struct SideFactors {
  std::int64_t rank = 0;
  TensorView down;          // f16 [rank, hidden], in the mapped file
  std::vector<float> up;    // [kv_heads * head_dim, rank]
  std::vector<float> bias;  // [kv_heads * head_dim], or empty
};

// The factors of one layer, and how attention uses them.
class LatentBasis final : public KvBasis {
 public:
  LatentBasis(const KvShape& shape, SideFactors keys, SideFactors values, std::vector<float> key_norm,
              float epsilon)
      : head_dim_(shape.head_dim),
        rope_(shape.rope),
        keys_(std::move(keys)),
        values_(std::move(values)),
        key_norm_(std::move(key_norm)),
        epsilon_(epsilon) {}

  const SideFactors& side(KvSide which) const { return which == KvSide::keys ? keys_ : values_; }
  std::int64_t query_width(std::int64_t) const override { return head_dim_; }
  std::int64_t value_width(std::int64_t) const override { return values_.rank; }
  void turn(std::int64_t, const float* queries, std::int64_t count, float* turned) const override {
    std::copy(queries, queries + count * head_dim_, turned);
  }

  void expand(std::int64_t head, const float* sums, const float* mass, std::int64_t count,
              float* out) const override {
    const float* up = values_.up.data() + head * head_dim_ * values_.rank;
    dense_dot_rows(DType::f32, reinterpret_cast<const std::byte*>(up), head_dim_, values_.rank, sums, count,
                   out, head_dim_);
    if (values_.bias.empty()) return;
    const float* bias = values_.bias.data() + head * head_dim_;
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t j = 0; j < head_dim_; ++j) out[i * head_dim_ + j] += mass[i] * bias[j];
    }
  }

  // keys [rows, head_dim] of latents [rows, rank], turned by cosine and sine [rows, head_dim / 2].
  void rebuild_keys(std::int64_t head, const float* latents, std::int64_t rows, const float* cosine,
                    const float* sine, float* keys) const {
    const std::int64_t half = head_dim_ / 2;
    gemm(Transpose::no, Transpose::yes, rows, head_dim_, keys_.rank, 1.0f, latents, keys_.rank,
         keys_.up.data() + head * head_dim_ * keys_.rank, keys_.rank, 0.0f, keys, head_dim_);
    const float* bias = keys_.bias.empty() ? nullptr : keys_.bias.data() + head * head_dim_;
    for (std::int64_t r = 0; r < rows; ++r) {
      float* key = keys + r * head_dim_;
      if (bias != nullptr) {
        for (std::int64_t j = 0; j < head_dim_; ++j) key[j] += bias[j];
      }
      if (!key_norm_.empty()) rms_norm(key, key_norm_.data(), head_dim_, epsilon_, key);
      rotate_half_split(key, half, cosine + r * half, sine + r * half);
    }
  }
  const RopeTable& rope() const { return *rope_; }
  std::int64_t head_dim() const { return head_dim_; }

 private:
  std::int64_t head_dim_;
  std::shared_ptr<const RopeTable> rope_;
  SideFactors keys_, values_;
  std::vector<float> key_norm_;
  float epsilon_;
};

class LatentBlock final : public KvBlock {
 public:
  LatentBlock(TokenIndex index, std::shared_ptr<const LatentBasis> basis,
              std::unique_ptr<const RowStore> keys, std::unique_ptr<const RowStore> values)
      : KvBlock(std::move(index)),
        basis_(std::move(basis)),
        keys_(std::move(keys)),
        values_(std::move(values)) {
    // A token policy gives all heads the same order where they share a latent.
    if (!this->index().consecutive()) positions_ = this->index().positions(0);
  }

  const KvBasis* basis() const override { return basis_.get(); }

  void score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
             std::int64_t count, float* scores, std::int64_t stride) const override {
    thread_local std::vector<float> keys;
    const std::int64_t d = basis_->head_dim();
    for (std::int64_t r = begin; r < end; r += rebuilt_rows) {
      const std::int64_t rows = std::min(rebuilt_rows, end - r);
      keys.resize(static_cast<std::size_t>(rows * d));
      rebuild(head, r, rows, keys.data());
      dense_dot_rows(DType::f32, reinterpret_cast<const std::byte*>(keys.data()), rows, d, queries, count,
                     scores + (r - begin), stride);
    }
  }

  void mix(std::int64_t, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override {
    values_->mix(0, begin, end, weights, stride, count, sums);
  }

  void read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
            float* values) const override {
    const std::int64_t d = basis_->head_dim(), width = basis_->value_width(head);
    for (std::int64_t r = begin; keys != nullptr && r < end; r += rebuilt_rows)
      rebuild(head, r, std::min(rebuilt_rows, end - r), keys + (r - begin) * d);
    if (values == nullptr) return;
    std::vector<float> latents(static_cast<std::size_t>((end - begin) * width));
    values_->read(0, begin, end, latents.data());
    const std::vector<float> mass(static_cast<std::size_t>(end - begin), 1.0f);
    basis_->expand(head, latents.data(), mass.data(), end - begin, values);
  }

  KvBytes bytes() const override {
    KvBytes sum = index().bytes();
    sum += keys_->bytes();
    sum += values_->bytes();
    return sum;
  }
  void write(ByteWriter& writer) const override {
    index().write(writer);
    keys_->write(writer);
    values_->write(writer);
  }

 private:
  // Keys of rows [first, first + rows), turned by the positions of their tokens.
  void rebuild(std::int64_t head, std::int64_t first, std::int64_t rows, float* keys) const {
    thread_local std::vector<float> latents, cosine, sine, one_cosine, one_sine;
    latents.resize(static_cast<std::size_t>(rows * keys_->width(0)));
    keys_->read(0, first, first + rows, latents.data());
    if (positions_.empty()) {
      basis_->rope().fill(index().first() + first, rows, cosine, sine);
    } else {
      cosine.clear();
      sine.clear();
      for (std::int64_t r = first; r < first + rows; ++r) {
        basis_->rope().fill(positions_[static_cast<std::size_t>(r)], 1, one_cosine, one_sine);
        cosine.insert(cosine.end(), one_cosine.begin(), one_cosine.end());
        sine.insert(sine.end(), one_sine.begin(), one_sine.end());
      }
    }
    basis_->rebuild_keys(head, latents.data(), rows, cosine.data(), sine.data(), keys);
  }

  std::shared_ptr<const LatentBasis> basis_;
  std::unique_ptr<const RowStore> keys_, values_;
  TokenIndex::Positions positions_;  // of every row; empty for a run
};

class LatentMap final : public FeatureMap {
 public:
  LatentMap(const KvShape& shape, std::vector<std::shared_ptr<const LatentBasis>> layers,
            std::shared_ptr<const SafetensorsFile> file, std::uint64_t bytes, std::uint64_t identity)
      : hidden_(shape.hidden),
        layers_(std::move(layers)),
        file_(std::move(file)),
        bytes_(bytes),
        identity_(identity) {}

  bool joint() const override { return true; }
  bool needs_hidden() const override { return true; }
  std::int64_t side_width(std::int64_t layer) const override {
    return width(layer, KvSide::keys) + width(layer, KvSide::values);
  }
  // Both latents of every row, keys' first.
  void side_rows(const LayerRows& rows, std::int64_t layer, float* side) const override {
    require(rows.hidden != nullptr, "latents are made of the layer's input");
    const std::int64_t stride = side_width(layer);
    const auto& keys = at(layer).side(KvSide::keys);
    const auto& values = at(layer).side(KvSide::values);
    parallel_tiles(rows.rows, projected_rows, [&](std::int64_t begin, std::int64_t end) {
      const float* x = rows.hidden + begin * hidden_;
      float* to = side + begin * stride;
      dense_dot_rows(DType::f16, keys.down.data, keys.rank, hidden_, x, end - begin, to, stride);
      dense_dot_rows(DType::f16, values.down.data, values.rank, hidden_, x, end - begin, to + keys.rank,
                     stride);
    });
  }
  std::vector<std::int64_t> widths(std::int64_t layer, KvSide side) const override {
    return {width(layer, side)};
  }
  HeadMatrices project(const ExactRows& rows, KvSide side) const override {
    const std::int64_t begin = side == KvSide::keys ? 0 : width(rows.layer, KvSide::keys);
    HeadMatrix latents(rows.count, width(rows.layer, side));
    for (std::int64_t r = 0; r < rows.count; ++r) {
      const float* from = rows.side.row(r) + begin;
      std::copy(from, from + latents.width, latents.row(r));
    }
    HeadMatrices parts;
    parts.push_back(std::move(latents));
    return parts;
  }
  std::shared_ptr<const KvBlock> block(std::int64_t layer, TokenIndex index,
                                       std::unique_ptr<const RowStore> keys,
                                       std::unique_ptr<const RowStore> values) const override {
    return std::make_shared<LatentBlock>(std::move(index), layers_.at(static_cast<std::size_t>(layer)),
                                         std::move(keys), std::move(values));
  }
  std::uint64_t model_bytes() const override { return bytes_; }
  std::uint64_t identity() const override { return identity_; }

 private:
  const LatentBasis& at(std::int64_t layer) const { return *layers_.at(static_cast<std::size_t>(layer)); }
  std::int64_t width(std::int64_t layer, KvSide side) const { return at(layer).side(side).rank; }

  std::int64_t hidden_;
  std::vector<std::shared_ptr<const LatentBasis>> layers_;
  std::shared_ptr<const SafetensorsFile> file_;  // holds the matrices that project
  std::uint64_t bytes_, identity_;
};

// The first `wanted` columns of the stored factors; 0: all.
SideFactors read_side(const KvShape& shape, const TrainedBase& base, std::int64_t layer, KvSide side,
                      std::int64_t wanted) {
  SideFactors factors;
  const std::string down = latent_name(layer, side, "down"), bias = latent_name(layer, side, "bias");
  if (!base.has(down)) return factors;  // the layer's attention was dropped
  const std::int64_t outputs = shape.kv_heads * shape.head_dim;
  const Shape stored = base.tensor(down).shape;
  const std::int64_t rank = stored.size() == 2 ? stored[0] : 0;
  if (rank < 1 || rank > outputs)
    fail(ErrorKind::input, fmt::format("{} has shape {}", down, to_string(stored)), base.path().string());
  factors.rank = wanted > 0 ? wanted : rank;
  if (factors.rank != rank) {
    if (factors.rank > rank || base.fact("nested") != "true") {
      fail(ErrorKind::input,
           fmt::format("has {} numbers per token for the {} of layer {}, {} are asked for{}", rank,
                       side == KvSide::keys ? "keys" : "values", layer, factors.rank,
                       factors.rank > rank ? "" : "; a trained base cannot be cut"),
           base.path().string(),
           "leave the rank out to take the base as it is, or make another base with that rank");
    }
  }
  factors.down = base.tensor(down, {rank, shape.hidden});
  if (factors.down.dtype != DType::f16)
    fail(ErrorKind::input, fmt::format("{} is not F16", down), base.path().string());
  require_finite(factors.down, down);
  const std::vector<float> up = base.numbers(latent_name(layer, side, "up"), {outputs, rank});
  factors.up.resize(static_cast<std::size_t>(outputs * factors.rank));
  for (std::int64_t o = 0; o < outputs; ++o)
    std::copy_n(up.begin() + o * rank, factors.rank, factors.up.begin() + o * factors.rank);
  if (base.has(bias)) factors.bias = base.numbers(bias, {outputs});
  return factors;
}

}  // namespace

std::int64_t latent_width(const KvShape& shape, double density) {
  const std::int64_t per_head = count_of(shape.head_dim, density, CountRule::floor, 0);
  if (per_head < 1) {
    fail(ErrorKind::usage,
         fmt::format("a rank of {} leaves nothing of heads of {} numbers", density, shape.head_dim), "cskv",
         fmt::format("the smallest is {}", 1.0 / static_cast<double>(shape.head_dim)));
  }
  return per_head * shape.kv_heads;
}

std::string latent_name(std::int64_t layer, KvSide side, std::string_view part) {
  return fmt::format("layers.{}.{}.{}", layer, side == KvSide::keys ? "keys" : "values", part);
}

std::shared_ptr<const FeatureMap> latent_map(const KvShape& shape, const TrainedBase& base,
                                             double key_density, double value_density) {
  require(shape.rope != nullptr, "keys are turned by positions");
  const std::int64_t key_width = key_density > 0 ? latent_width(shape, key_density) : 0;
  const std::int64_t value_width = value_density > 0 ? latent_width(shape, value_density) : 0;
  float epsilon = 0;
  std::vector<std::shared_ptr<const LatentBasis>> layers;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    std::vector<float> key_norm;
    const std::string name = fmt::format("layers.{}.key_norm", layer);
    if (base.has(name)) {
      key_norm = base.numbers(name, {shape.head_dim});
      epsilon = base.numbers("norm_epsilon", {1}).front();
    }
    layers.push_back(std::make_shared<LatentBasis>(
        shape, read_side(shape, base, layer, KvSide::keys, key_width),
        read_side(shape, base, layer, KvSide::values, value_width), std::move(key_norm), epsilon));
  }
  // A cut of the base is another map.
  std::uint64_t identity = base.identity();
  for (const std::int64_t cut : {key_width, value_width})
    identity = (identity ^ static_cast<std::uint64_t>(cut)) * 0x9E3779B97F4A7C15ull;
  return std::make_shared<LatentMap>(shape, std::move(layers), base.file(), base.bytes(), identity | 1);
}

}  // namespace laconic::cskv
