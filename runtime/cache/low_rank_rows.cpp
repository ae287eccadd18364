#include "runtime/cache/low_rank_rows.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/codec/low_rank_product.h"

namespace laconic {

LowRankRows::LowRankRows(const HeadMatrices& left, const HeadMatrices& right, int bits) {
  require(left.size() == 1 || left.size() == right.size(), "parts share one left factor or have their own");
  for (const HeadMatrix& factor : left) left_.emplace_back(factor, bits);
  for (const HeadMatrix& factor : right) right_.emplace_back(factor, bits);
  for (std::int64_t part = 0; part < static_cast<std::int64_t>(right.size()); ++part)
    require(left_of(part).rows() == rank(part), "two factors of a product have one rank");
}

void LowRankRows::read_left(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  const FactorMatrix& factor = left_of(part);
  for (std::int64_t k = 0; k < factor.rows(); ++k) factor.read(k, begin, end, out + k * (end - begin));
}

void LowRankRows::read_right(std::int64_t part, float* out) const {
  const FactorMatrix& factor = right_.at(static_cast<std::size_t>(part));
  for (std::int64_t k = 0; k < factor.rows(); ++k)
    factor.read(k, 0, factor.width(), out + k * factor.width());
}

void LowRankRows::add(std::int64_t part, std::int64_t begin, std::int64_t end, float* rows) const {
  const std::int64_t ranks = rank(part), count = end - begin;
  const std::int64_t width = right_.at(static_cast<std::size_t>(part)).width();
  if (ranks == 0) return;
  std::vector<float> sideways(static_cast<std::size_t>(ranks * count)), left(sideways.size()),
      right(static_cast<std::size_t>(ranks * width));
  read_left(part, begin, end, sideways.data());
  read_right(part, right.data());
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t k = 0; k < ranks; ++k)
      left[static_cast<std::size_t>(r * ranks + k)] = sideways[static_cast<std::size_t>(k * count + r)];
  }
  add_low_rank(left.data(), right.data(), count, width, ranks, nullptr, rows);
}

KvBytes LowRankRows::bytes() const {
  KvBytes sum;
  ByteWriter ranks;
  for (const FactorMatrix& factor : left_) ranks.varint(static_cast<std::uint64_t>(factor.rows()));
  sum.header = ranks.size();
  for (const FactorMatrix& factor : left_) sum += factor.bytes();
  for (const FactorMatrix& factor : right_) sum += factor.bytes();
  return sum;
}

void LowRankRows::write(ByteWriter& writer) const {
  for (const FactorMatrix& factor : left_) writer.varint(static_cast<std::uint64_t>(factor.rows()));
  for (const FactorMatrix& factor : left_) factor.write(writer);
  for (const FactorMatrix& factor : right_) factor.write(writer);
}

LowRankRows LowRankRows::read_from(ByteReader& reader, const RowStoreShape& shape, bool shared, int bits) {
  LowRankRows result;
  if (shape.parts.empty()) reader.corrupt("factors of no rows");
  std::int64_t total = 0;
  for (const auto& [rows, width] : shape.parts) {
    if (shared && rows != shape.parts.front().first)
      reader.corrupt("a factor across heads that have different tokens");
    total += width;
  }
  std::vector<std::int64_t> ranks;
  for (const auto& [rows, width] : shape.parts) {
    if (shared && !ranks.empty()) break;
    const std::int64_t most = std::min(rows, shared ? total : width);
    ranks.push_back(static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(most))));
  }
  for (std::size_t i = 0; i < ranks.size(); ++i)
    result.left_.push_back(FactorMatrix::read_from(reader, ranks[i], shape.parts[i].first, bits));
  for (std::size_t part = 0; part < shape.parts.size(); ++part) {
    result.right_.push_back(
        FactorMatrix::read_from(reader, ranks[shared ? 0 : part], shape.parts[part].second, bits));
  }
  return result;
}

}  // namespace laconic
