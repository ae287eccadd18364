#include "runtime/cache/corrected_store.h"

#include <algorithm>

#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::uint8_t has_low_rank = 1, has_outliers = 2;

// Factors of some rows of a part as f32, and the outliers among those rows: what a call of dot or mix needs.
struct RowCorrections {
  void load(const CorrectedStore& store, std::int64_t part, std::int64_t begin, std::int64_t end) {
    count = end - begin;
    width = store.width(part);
    rank = store.low_rank() ? store.low_rank()->rank(part) : 0;
    left.resize(static_cast<std::size_t>(rank * count));
    right.resize(static_cast<std::size_t>(rank * width));
    if (rank > 0) {
      store.low_rank()->read_left(part, begin, end, left.data());
      store.low_rank()->read_right(part, right.data());
    }
    outliers.clear();
    if (!store.outliers()) return;
    store.outliers()->list(part, begin, end, outliers);
    for (Outlier& outlier : outliers) {
      outlier.value -= store.codes().value(part, outlier.row, outlier.column);
      for (std::int64_t k = 0; k < rank; ++k)
        outlier.value -= left[static_cast<std::size_t>(k * count + outlier.row - begin)] *
                         right[static_cast<std::size_t>(k * width + outlier.column)];
    }
  }

  std::int64_t count = 0, width = 0, rank = 0;
  std::vector<float> left, right, turned;  // [rank, count], [rank, width]; room for q P or p Q
  std::vector<Outlier> outliers;           // value: the difference to codes and factors
};

// One per thread: blocks are small, and each is asked for its rows at every step.
RowCorrections& corrections_of(const CorrectedStore& store, std::int64_t part, std::int64_t begin,
                               std::int64_t end, std::int64_t queries) {
  thread_local RowCorrections corrections;
  corrections.load(store, part, begin, end);
  corrections.turned.resize(static_cast<std::size_t>(queries * corrections.rank));
  return corrections;
}

}  // namespace

CorrectedStore::CorrectedStore(std::unique_ptr<const UniformStore> codes, std::optional<LowRankRows> low_rank,
                               std::optional<OutlierRows> outliers)
    : codes_(std::move(codes)), low_rank_(std::move(low_rank)), outliers_(std::move(outliers)) {}

void CorrectedStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  codes_->read(part, begin, end, out);
  if (low_rank_) low_rank_->add(part, begin, end, out);
  if (!outliers_) return;
  thread_local std::vector<Outlier> entries;
  outliers_->list(part, begin, end, entries);
  for (const Outlier& entry : entries) out[(entry.row - begin) * width(part) + entry.column] = entry.value;
}

void CorrectedStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                         std::int64_t count, float* scores, std::int64_t stride) const {
  codes_->dot(part, begin, end, queries, count, scores, stride);
  RowCorrections& add = corrections_of(*this, part, begin, end, count);
  if (add.rank > 0) {
    gemm(Transpose::no, Transpose::yes, count, add.rank, add.width, 1.0f, queries, add.width,
         add.right.data(), add.width, 0.0f, add.turned.data(), add.rank);
    gemm(Transpose::no, Transpose::no, count, add.count, add.rank, 1.0f, add.turned.data(), add.rank,
         add.left.data(), add.count, 1.0f, scores, stride);
  }
  for (const Outlier& entry : add.outliers) {
    for (std::int64_t i = 0; i < count; ++i)
      scores[i * stride + entry.row - begin] += queries[i * add.width + entry.column] * entry.value;
  }
}

void CorrectedStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                         std::int64_t stride, std::int64_t count, float* sums) const {
  codes_->mix(part, begin, end, weights, stride, count, sums);
  RowCorrections& add = corrections_of(*this, part, begin, end, count);
  if (add.rank > 0) {
    gemm(Transpose::no, Transpose::yes, count, add.rank, add.count, 1.0f, weights, stride, add.left.data(),
         add.count, 0.0f, add.turned.data(), add.rank);
    gemm(Transpose::no, Transpose::no, count, add.width, add.rank, 1.0f, add.turned.data(), add.rank,
         add.right.data(), add.width, 1.0f, sums, add.width);
  }
  for (const Outlier& entry : add.outliers) {
    for (std::int64_t i = 0; i < count; ++i)
      sums[i * add.width + entry.column] += weights[i * stride + entry.row - begin] * entry.value;
  }
}

KvBytes CorrectedStore::bytes() const {
  KvBytes sum = codes_->bytes();
  sum.header += 1;
  if (low_rank_) sum += low_rank_->bytes();
  if (outliers_) sum += outliers_->bytes();
  return sum;
}

void CorrectedStore::write(ByteWriter& writer) const {
  writer.u8(static_cast<std::uint8_t>((low_rank_ ? has_low_rank : 0) | (outliers_ ? has_outliers : 0)));
  codes_->write(writer);
  if (low_rank_) low_rank_->write(writer);
  if (outliers_) outliers_->write(writer);
}

std::unique_ptr<const CorrectedStore> CorrectedStore::read_from(ByteReader& reader,
                                                                const RowStoreShape& shape,
                                                                const Form& form) {
  const std::uint8_t pieces = reader.u8();
  if (pieces > (has_low_rank | has_outliers)) reader.corrupt("corrections of an unknown kind");
  auto codes = UniformStore::read_from(reader, shape, form.codes);
  std::optional<LowRankRows> low_rank;
  std::optional<OutlierRows> outliers;
  if ((pieces & has_low_rank) != 0)
    low_rank = LowRankRows::read_from(reader, shape, form.shared_factor, form.factor_bits);
  if ((pieces & has_outliers) != 0) outliers = OutlierRows::read_from(reader, shape, form.outliers);
  return std::make_unique<CorrectedStore>(std::move(codes), std::move(low_rank), std::move(outliers));
}

}  // namespace laconic
