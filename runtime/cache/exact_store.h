// Rows as numbers of one dtype (f32, f16, bf16): the pass-through codec, and the rows that a cache keeps
// exactly because they are recent.
#pragma once

#include "engine/tensor/dtype.h"
#include "runtime/cache/row_store.h"

namespace laconic {

class ExactStore final : public RowStore {
 public:
  ExactStore(DType dtype, const RowStoreShape& shape);              // rows are zero
  ExactStore(DType dtype, const HeadMatrices& rows);                // rounded to the dtype
  ExactStore(DType dtype, std::int64_t parts, std::int64_t width);  // no rows yet

  std::int64_t parts() const override { return static_cast<std::int64_t>(parts_.size()); }
  std::int64_t rows(std::int64_t part) const override { return at(part).rows; }
  std::int64_t width(std::int64_t part) const override { return at(part).width; }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override;
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  DType dtype() const { return dtype_; }
  // A window grows at its end and loses its oldest rows.
  void append(std::int64_t part, const float* row_values, std::int64_t row_count, std::int64_t row_stride);
  void drop_front(std::int64_t row_count);  // of every part
  void truncate(std::int64_t row_count);    // keeps the first rows of every part
  // Error(corrupt) on anything write() does not write, and on numbers that are not finite.
  static std::unique_ptr<ExactStore> read_from(ByteReader& reader, DType dtype, const RowStoreShape& shape);

 private:
  struct Part {
    std::int64_t rows = 0, width = 0;
    std::vector<std::byte> numbers;  // [rows, width]
  };
  const Part& at(std::int64_t part) const { return parts_.at(static_cast<std::size_t>(part)); }
  const std::byte* from(const Part& part, std::int64_t row) const;

  DType dtype_;
  std::vector<Part> parts_;
};

// "f16", "bf16" or "f32".
std::shared_ptr<const RowCodec> exact_row_codec(DType dtype);

}  // namespace laconic
