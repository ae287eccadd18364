#include "runtime/cache/factor_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/coding/bit_packing.h"

namespace laconic {
namespace {

// Whether every row, stored as f16, stays within 2^-10 of its length.
bool f16_rows_suffice(const HeadMatrix& matrix) {
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    double square = 0, lost = 0;
    for (std::int64_t i = 0; i < matrix.width; ++i) {
      const double value = matrix.row(r)[i], stored = rounded_to(DType::f16, matrix.row(r)[i]);
      square += value * value;
      lost += (value - stored) * (value - stored);
    }
    if (!(lost <= 0x1p-20 * square)) return false;
  }
  return true;
}

}  // namespace

FactorMatrix::FactorMatrix(const HeadMatrix& matrix, int bits)
    : rows_(matrix.rows), width_(matrix.width), bits_(bits) {
  require(bits == 16 || (bits >= 2 && bits <= 8), "a factor has 16 bits or 2 to 8");
  if (!coded()) {
    dtype_ = f16_rows_suffice(matrix) ? DType::f16 : DType::f32;
    numbers_.resize(matrix.values.size() * size_of(dtype_));
    convert_from_f32(matrix.values, dtype_, numbers_.data());
    return;
  }
  if (matrix.values.empty()) return;
  const GridParameters grids =
      fit_grid(matrix.values.data(), rows_, width_, {GridKind::symmetric, bits, grid_run});
  const std::vector<std::uint8_t> codes = quantize(matrix.values.data(), grids);
  dtype_ = grids.dtype;
  numbers_.resize(grids.step.size() * size_of(dtype_));
  convert_from_f32(grids.step, dtype_, numbers_.data());
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(width_), bits);
  codes_.resize(static_cast<std::size_t>(rows_) * row_bytes);
  for (std::int64_t r = 0; r < rows_; ++r) {
    pack_bits({codes.data() + r * width_, static_cast<std::size_t>(width_)}, bits,
              {codes_.data() + static_cast<std::size_t>(r) * row_bytes, row_bytes});
  }
}

void FactorMatrix::read(std::int64_t row, std::int64_t begin, std::int64_t end, float* out) const {
  if (!coded()) {
    convert_to_f32(dtype_, numbers_.data() + static_cast<std::size_t>(row * width_ + begin) * size_of(dtype_),
                   std::span(out, static_cast<std::size_t>(end - begin)));
    return;
  }
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(width_), bits_);
  const std::uint8_t* packed = codes_.data() + static_cast<std::size_t>(row) * row_bytes;
  const int centre = GridForm{GridKind::symmetric, bits_, grid_run}.centre();
  std::array<std::uint8_t, grid_run> codes;  // a run begins at a byte, whatever the bits
  for (std::int64_t run = begin / grid_run; run * grid_run < end; ++run) {
    const std::int64_t first = run * grid_run, count = std::min(grid_run, width_ - first);
    const std::size_t at = packed_bytes(static_cast<std::uint64_t>(first), bits_);
    unpack_bits({packed + at, packed_bytes(static_cast<std::uint64_t>(count), bits_)}, bits_,
                {codes.data(), static_cast<std::size_t>(count)});
    float step = 0;
    convert_to_f32(dtype_, numbers_.data() + static_cast<std::size_t>(row * runs() + run) * size_of(dtype_),
                   std::span(&step, 1));
    for (std::int64_t i = std::max(begin, first); i < std::min(end, first + count); ++i)
      out[i - begin] = step * static_cast<float>(codes[static_cast<std::size_t>(i - first)] - centre);
  }
}

HeadMatrix FactorMatrix::read_all() const {
  HeadMatrix matrix(rows_, width_);
  for (std::int64_t r = 0; r < rows_; ++r) read(r, 0, width_, matrix.row(r));
  return matrix;
}

KvBytes FactorMatrix::bytes() const {
  KvBytes sum;
  sum.header = 1;
  sum.payload = coded() ? codes_.size() : numbers_.size();
  if (coded()) sum.scales = numbers_.size();
  return sum;
}

void FactorMatrix::write(ByteWriter& writer) const {
  writer.u8(dtype_ == DType::f32 ? 1 : 0);
  writer.append(numbers_);
  writer.append(std::as_bytes(std::span(codes_)));
}

FactorMatrix FactorMatrix::read_from(ByteReader& reader, std::int64_t rows, std::int64_t width, int bits) {
  FactorMatrix matrix;
  matrix.rows_ = rows;
  matrix.width_ = width;
  matrix.bits_ = bits;
  const std::uint8_t wide = reader.u8();
  if (wide > 1) reader.corrupt("a factor of an unknown type");
  matrix.dtype_ = wide == 1 ? DType::f32 : DType::f16;
  const auto count = static_cast<std::size_t>(rows * (matrix.coded() ? matrix.runs() : width));
  const ByteSpan numbers = reader.take(count * size_of(matrix.dtype_));
  std::vector<float> values(count);
  convert_to_f32(matrix.dtype_, numbers.data(), values);
  if (!all_finite(values)) reader.corrupt("a factor that is not finite");
  matrix.numbers_.assign(numbers.begin(), numbers.end());
  if (!matrix.coded()) return matrix;
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(width), bits);
  const ByteSpan codes = reader.take(static_cast<std::size_t>(rows) * row_bytes);
  matrix.codes_.resize(codes.size());
  std::transform(codes.begin(), codes.end(), matrix.codes_.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
  return matrix;
}

}  // namespace laconic
