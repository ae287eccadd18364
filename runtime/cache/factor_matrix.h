// A small matrix of a factorisation as a cache keeps it: f16, f32 where f16 would lose more than 2^-10 of a
// row, or codes of a symmetric grid over runs of 128 numbers of a row.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/codec/uniform_grid.h"
#include "runtime/cache/kv_bytes.h"
#include "runtime/cache/kv_shape.h"

namespace laconic {

class FactorMatrix {
 public:
  static constexpr std::int64_t grid_run = 128;

  FactorMatrix() = default;
  // bits: 16, or 2 to 8 for codes.
  FactorMatrix(const HeadMatrix& matrix, int bits);

  std::int64_t rows() const { return rows_; }
  std::int64_t width() const { return width_; }
  // out [end - begin] = numbers [begin, end) of a row.
  void read(std::int64_t row, std::int64_t begin, std::int64_t end, float* out) const;
  HeadMatrix read_all() const;

  KvBytes bytes() const;
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write and on numbers that are not finite.
  static FactorMatrix read_from(ByteReader& reader, std::int64_t rows, std::int64_t width, int bits);

 private:
  bool coded() const { return bits_ < 16; }
  std::int64_t runs() const { return (width_ + grid_run - 1) / grid_run; }

  std::int64_t rows_ = 0, width_ = 0;
  int bits_ = 16;
  DType dtype_ = DType::f16;         // of numbers or steps
  std::vector<std::byte> numbers_;   // [rows, width] numbers, or [rows, runs] steps
  std::vector<std::uint8_t> codes_;  // [rows][packed bytes of a row]
};

}  // namespace laconic
