// Rows on uniform grids with two corrections of what the grids lose: products of thin factors, and single
// numbers that are kept as they are.
//
//   X ~ D + L + S    D codes, L low rank, S in place of D + L where there is an outlier
//
// The decomposition of GEAR (Kang et al. 2024, arXiv 2403.05527). Attention multiplies with each part in the
// form it is kept in:
//
//   q X^T = q D^T + (q P) Q^T + sum over outliers of q_j (x - d - l)
//   p X   = p D   + (p Q) P^T + sum over outliers of p_t (x - d - l)
#pragma once

#include <memory>
#include <optional>

#include "runtime/cache/low_rank_rows.h"
#include "runtime/cache/outlier_rows.h"
#include "runtime/cache/uniform_store.h"

namespace laconic {

class CorrectedStore final : public RowStore {
 public:
  CorrectedStore(std::unique_ptr<const UniformStore> codes, std::optional<LowRankRows> low_rank,
                 std::optional<OutlierRows> outliers);

  std::int64_t parts() const override { return codes_->parts(); }
  std::int64_t rows(std::int64_t part) const override { return codes_->rows(part); }
  std::int64_t width(std::int64_t part) const override { return codes_->width(part); }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override;
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  const UniformStore& codes() const { return *codes_; }
  const std::optional<LowRankRows>& low_rank() const { return low_rank_; }
  const std::optional<OutlierRows>& outliers() const { return outliers_; }

  // Forms of the pieces, the same for writer and reader.
  struct Form {
    UniformRowForm codes;
    OutlierForm outliers;
    bool shared_factor = false;  // the parts have one left factor
    int factor_bits = 16;
  };
  // Error(corrupt) on anything write() does not write.
  static std::unique_ptr<const CorrectedStore> read_from(ByteReader& reader, const RowStoreShape& shape,
                                                         const Form& form);

 private:
  std::unique_ptr<const UniformStore> codes_;
  std::optional<LowRankRows> low_rank_;
  std::optional<OutlierRows> outliers_;
};

}  // namespace laconic
