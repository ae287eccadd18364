// Rows of a run of tokens as products of thin factors, one per part, that are added to what another store
// keeps:
//
//   L_h = Q_h P_h^T,  Q_h [rows, rank], P_h [width, rank]
//
// Attention never forms L: q L^T = (q P) Q^T and p L = (p Q) P^T. Where one factorisation spans all heads,
// the parts share Q and have a P each.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cache/factor_matrix.h"
#include "runtime/cache/row_store.h"

namespace laconic {

class LowRankRows {
 public:
  // Factors turned on their side: left [rank, rows], one per part or one for all parts; right [rank, width]
  // per part. Bits as in FactorMatrix.
  LowRankRows(const HeadMatrices& left, const HeadMatrices& right, int bits);

  std::int64_t rank(std::int64_t part) const { return right_.at(static_cast<std::size_t>(part)).rows(); }
  // Q^T of rows [begin, end), [rank, end - begin], and P^T, [rank, width].
  void read_left(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const;
  void read_right(std::int64_t part, float* out) const;

  // rows [end - begin, width] += L. Every number is a sum over the rank in ascending order: the same bits on
  // every machine.
  void add(std::int64_t part, std::int64_t begin, std::int64_t end, float* rows) const;

  KvBytes bytes() const;
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write. shared: one left factor for all parts.
  static LowRankRows read_from(ByteReader& reader, const RowStoreShape& shape, bool shared, int bits);

 private:
  LowRankRows() = default;
  const FactorMatrix& left_of(std::int64_t part) const {
    return left_.at(left_.size() == 1 ? 0 : static_cast<std::size_t>(part));
  }
  std::vector<FactorMatrix> left_, right_;
};

}  // namespace laconic
