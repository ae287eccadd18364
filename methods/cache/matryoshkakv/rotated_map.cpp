#include "methods/cache/matryoshkakv/rotated_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/threads.h"
#include "engine/math/cayley.h"
#include "methods/cache/matryoshkakv/rotation.h"
#include "runtime/dense_kernel.h"

namespace laconic::matryoshkakv {
namespace {

void times(const std::vector<float>& matrix, std::int64_t out, std::int64_t in, const float* x,
           std::int64_t rows, float* y) {
  dense_dot_rows(DType::f32, reinterpret_cast<const std::byte*>(matrix.data()), out, in, x, rows, y, out);
}

// The kept columns of one layer's heads.
class RotatedBasis final : public KvBasis {
 public:
  RotatedBasis(const KvShape& shape, std::shared_ptr<const ModelBases> bases, const RankTable& ranks,
               std::int64_t layer)
      : dim_(shape.head_dim), bases_(std::move(bases)) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        const std::size_t index = ranks.index(layer, side, head);
        (side == KvSide::keys ? keys_ : values_).push_back({&bases_->heads[index], ranks.all()[index]});
      }
    }
    for (const Kept& kept : values_) {
      std::vector<float> rows(static_cast<std::size_t>(dim_ * kept.rank));
      for (std::int64_t k = 0; k < kept.rank; ++k) {
        for (std::int64_t j = 0; j < dim_; ++j)
          rows[static_cast<std::size_t>(j * kept.rank + k)] =
              kept.basis->columns[static_cast<std::size_t>(k * dim_ + j)];
      }
      value_rows_.push_back(std::move(rows));
    }
  }

  std::int64_t dim() const { return dim_; }
  std::int64_t heads() const { return static_cast<std::int64_t>(keys_.size()); }
  std::int64_t rank(std::int64_t head, KvSide side) const { return at(head, side).rank; }

  // First count x rank turned queries, then q . mu_K of each.
  std::int64_t query_width(std::int64_t head) const override { return at(head, KvSide::keys).rank + 1; }
  std::int64_t value_width(std::int64_t head) const override { return at(head, KvSide::values).rank; }
  void turn(std::int64_t head, const float* queries, std::int64_t count, float* turned) const override {
    const Kept& kept = at(head, KvSide::keys);
    times(kept.basis->columns, kept.rank, dim_, queries, count, turned);
    times(kept.basis->mean, 1, dim_, queries, count, turned + count * kept.rank);
  }
  void expand(std::int64_t head, const float* sums, const float* mass, std::int64_t count,
              float* out) const override {
    const Kept& kept = at(head, KvSide::values);
    times(value_rows_[static_cast<std::size_t>(head)], dim_, kept.rank, sums, count, out);
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t j = 0; j < dim_; ++j)
        out[i * dim_ + j] += mass[i] * kept.basis->mean[static_cast<std::size_t>(j)];
    }
  }

  // Latents of rows [rows, head_dim].
  HeadMatrix project(std::int64_t head, KvSide side, const HeadMatrix& rows) const {
    const Kept& kept = at(head, side);
    HeadMatrix latents(rows.rows, kept.rank);
    std::vector<float> centred(rows.values.size());
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      for (std::int64_t j = 0; j < dim_; ++j)
        centred[static_cast<std::size_t>(r * dim_ + j)] =
            rows.row(r)[j] - kept.basis->mean[static_cast<std::size_t>(j)];
    }
    times(kept.basis->columns, kept.rank, dim_, centred.data(), rows.rows, latents.values.data());
    return latents;
  }
  // Rows that latents [rows, rank] of keys stand for.
  void expand_keys(std::int64_t head, const float* latents, std::int64_t rows, float* keys) const {
    const Kept& kept = at(head, KvSide::keys);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* key = keys + r * dim_;
      std::copy(kept.basis->mean.begin(), kept.basis->mean.end(), key);
      for (std::int64_t k = 0; k < kept.rank; ++k) {
        const float latent = latents[r * kept.rank + k];
        const float* column = kept.basis->columns.data() + k * dim_;
        for (std::int64_t j = 0; j < dim_; ++j) key[j] += latent * column[j];
      }
    }
  }

 private:
  struct Kept {
    const HeadBasis* basis;
    std::int64_t rank;
  };
  const Kept& at(std::int64_t head, KvSide side) const {
    return (side == KvSide::keys ? keys_ : values_)[static_cast<std::size_t>(head)];
  }

  std::int64_t dim_;
  std::shared_ptr<const ModelBases> bases_;
  std::vector<Kept> keys_, values_;
  std::vector<std::vector<float>> value_rows_;  // U_V[:, :r] of each head, [head_dim, rank]
};

class RotatedBlock final : public KvBlock {
 public:
  RotatedBlock(TokenIndex index, std::shared_ptr<const RotatedBasis> basis,
               std::unique_ptr<const RowStore> keys, std::unique_ptr<const RowStore> values)
      : KvBlock(std::move(index)),
        basis_(std::move(basis)),
        keys_(std::move(keys)),
        values_(std::move(values)) {}

  const KvBasis* basis() const override { return basis_.get(); }
  const RowStore& stored(KvSide side) const { return side == KvSide::keys ? *keys_ : *values_; }

  void score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
             std::int64_t count, float* scores, std::int64_t stride) const override {
    keys_->dot(head, begin, end, queries, count, scores, stride);
    const float* constants = queries + count * basis_->rank(head, KvSide::keys);
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t r = 0; r < end - begin; ++r) scores[i * stride + r] += constants[i];
    }
  }
  void mix(std::int64_t head, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override {
    values_->mix(head, begin, end, weights, stride, count, sums);
  }
  void read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
            float* values) const override {
    const std::int64_t rows = end - begin;
    std::vector<float> latents;
    if (keys != nullptr) {
      latents.resize(static_cast<std::size_t>(rows * keys_->width(head)));
      keys_->read(head, begin, end, latents.data());
      basis_->expand_keys(head, latents.data(), rows, keys);
    }
    if (values == nullptr) return;
    latents.resize(static_cast<std::size_t>(rows * values_->width(head)));
    values_->read(head, begin, end, latents.data());
    const std::vector<float> mass(static_cast<std::size_t>(rows), 1.0f);
    basis_->expand(head, latents.data(), mass.data(), rows, values);
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
  std::shared_ptr<const RotatedBasis> basis_;
  std::unique_ptr<const RowStore> keys_, values_;
};

// The first columns of every part of f16 rows.
std::unique_ptr<const RowStore> first_columns(const RowStore& from, const RotatedBasis& to, KvSide side) {
  const auto* exact = dynamic_cast<const ExactStore*>(&from);
  if (exact == nullptr) {
    fail(ErrorKind::unsupported, "latents on grids cannot lose columns", "shrink",
         "shrink a cache of f16 latents, or make the cache again with the smaller rank");
  }
  HeadMatrices parts;
  for (std::int64_t head = 0; head < from.parts(); ++head) {
    const std::int64_t wide = from.width(head), kept = to.rank(head, side);
    if (kept > wide)
      fail(ErrorKind::usage, fmt::format("head {} has {} columns, {} are asked for", head, wide, kept),
           "shrink", "a cache is only ever cut to fewer");
    HeadMatrix all(from.rows(head), wide), part(from.rows(head), kept);
    if (all.rows > 0) from.read(head, 0, all.rows, all.values.data());
    for (std::int64_t r = 0; r < all.rows; ++r) std::copy_n(all.row(r), kept, part.row(r));
    parts.push_back(std::move(part));
  }
  return std::make_unique<ExactStore>(exact->dtype(), parts);
}

class RotatedMapOfModel final : public RotatedMap {
 public:
  RotatedMapOfModel(const KvShape& shape, std::shared_ptr<const ModelBases> bases, RankTable ranks)
      : heads_(shape.kv_heads), bases_(std::move(bases)), ranks_(std::move(ranks)) {
    for (std::int64_t layer = 0; layer < shape.layers; ++layer)
      layers_.push_back(std::make_shared<RotatedBasis>(shape, bases_, ranks_, layer));
    identity_ = (bases_->identity ^ xxh3_64(std::as_bytes(std::span(ranks_.all())))) | 1;
  }

  const RankTable& ranks() const override { return ranks_; }
  bool joint() const override { return false; }
  std::vector<std::int64_t> widths(std::int64_t layer, KvSide side) const override {
    std::vector<std::int64_t> widths;
    for (std::int64_t head = 0; head < heads_; ++head) widths.push_back(ranks_.at(layer, side, head));
    return widths;
  }
  HeadMatrices project(const ExactRows& rows, KvSide side) const override {
    const HeadMatrices& from = side == KvSide::keys ? rows.keys : rows.values;
    HeadMatrices latents(from.size());
    parallel_for(heads_, [&](std::int64_t head) {
      const auto at = static_cast<std::size_t>(head);
      latents[at] = basis(rows.layer)->project(head, side, from[at]);
    });
    return latents;
  }
  std::shared_ptr<const KvBlock> block(std::int64_t layer, TokenIndex index,
                                       std::unique_ptr<const RowStore> keys,
                                       std::unique_ptr<const RowStore> values) const override {
    return std::make_shared<RotatedBlock>(std::move(index), basis(layer), std::move(keys), std::move(values));
  }
  std::shared_ptr<const KvBlock> narrowed(std::int64_t layer, const KvBlock& from) const override {
    const auto* rotated = dynamic_cast<const RotatedBlock*>(&from);
    require(rotated != nullptr, "a block of this method is narrowed");
    return block(layer, from.index(),
                 first_columns(rotated->stored(KvSide::keys), *basis(layer), KvSide::keys),
                 first_columns(rotated->stored(KvSide::values), *basis(layer), KvSide::values));
  }
  std::uint64_t model_bytes() const override { return bases_->bytes; }
  std::uint64_t identity() const override { return identity_; }

 private:
  const std::shared_ptr<const RotatedBasis>& basis(std::int64_t layer) const {
    return layers_.at(static_cast<std::size_t>(layer));
  }

  std::int64_t heads_;
  std::shared_ptr<const ModelBases> bases_;
  RankTable ranks_;
  std::vector<std::shared_ptr<const RotatedBasis>> layers_;
  std::uint64_t identity_ = 0;
};

HeadBasis basis_from_free(const std::vector<float>& free, std::vector<float> mean, std::int64_t d) {
  const std::vector<double> u = cayley(unpacked_free(free, d), d);
  HeadBasis basis{std::vector<float>(u.size()), std::move(mean)};
  for (std::int64_t i = 0; i < d; ++i) {
    for (std::int64_t j = 0; j < d; ++j)
      basis.columns[static_cast<std::size_t>(j * d + i)] =
          static_cast<float>(u[static_cast<std::size_t>(i * d + j)]);
  }
  return basis;
}

}  // namespace

std::string rotation_name(std::int64_t layer, KvSide side, std::string_view part) {
  return fmt::format("layers.{}.{}.{}", layer, side == KvSide::keys ? "keys" : "values", part);
}

std::shared_ptr<const ModelBases> make_bases(const KvShape& shape,
                                             const std::vector<std::vector<float>>& free,
                                             const std::vector<std::vector<float>>& means) {
  const RankTable table(shape, shape.head_dim);
  require(free.size() == table.all().size() && means.size() == free.size(),
          "a basis for every head and side");
  auto bases = std::make_shared<ModelBases>();
  bases->heads.resize(free.size());
  parallel_for(static_cast<std::int64_t>(free.size()), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    bases->heads[at] = basis_from_free(free[at], means[at], shape.head_dim);
  });
  return bases;
}

std::shared_ptr<const ModelBases> read_bases(const KvShape& shape, const TrainedBase& base) {
  const std::int64_t d = shape.head_dim, below = d * (d - 1) / 2;
  std::vector<std::vector<float>> free, means;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      const std::vector<float> x = base.numbers(rotation_name(layer, side, "free"), {shape.kv_heads, below});
      const std::vector<float> mean = base.numbers(rotation_name(layer, side, "mean"), {shape.kv_heads, d});
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        free.emplace_back(x.begin() + head * below, x.begin() + (head + 1) * below);
        means.emplace_back(mean.begin() + head * d, mean.begin() + (head + 1) * d);
      }
    }
  }
  auto bases = std::make_shared<ModelBases>(*make_bases(shape, free, means));
  bases->bytes = base.bytes();
  bases->identity = base.identity();
  return bases;
}

std::shared_ptr<const RotatedMap> rotated_map(const KvShape& shape, std::shared_ptr<const ModelBases> bases,
                                              RankTable ranks) {
  require(ranks.all().size() == bases->heads.size(), "a rank for every head and side");
  for (const std::int64_t rank : ranks.all()) {
    if (rank < 1 || rank > shape.head_dim)
      fail(ErrorKind::usage, fmt::format("a rank of {} in heads of {} numbers", rank, shape.head_dim),
           "matryoshkakv");
  }
  return std::make_shared<RotatedMapOfModel>(shape, std::move(bases), std::move(ranks));
}

std::unique_ptr<KvCache> shrunk(const KvCache& cache, const std::shared_ptr<const RotatedMap>& map,
                                std::string_view canonical) {
  std::vector<std::shared_ptr<const KvCodec>> codecs;
  for (std::int64_t layer = 0; layer < cache.shape().layers; ++layer) {
    KvStages stages;
    stages.canonical = canonical;
    stages.features = map;
    stages.window = cache.codec(layer).window();
    codecs.push_back(make_stage_codec(cache.shape(), layer, std::move(stages)));
  }
  return cache.recoded(std::move(codecs),
                       [&](std::int64_t layer, const std::shared_ptr<const KvBlock>& block) {
                         return map->narrowed(layer, *block);
                       });
}

}  // namespace laconic::matryoshkakv
