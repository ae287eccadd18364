#include "runtime/linear_op.h"

#include <algorithm>
#include <vector>

#include "engine/base/threads.h"
#include "engine/codec/uniform_payload.h"
#include "engine/coding/bit_packing.h"
#include "engine/math/blas.h"
#include "runtime/dense_kernel.h"

namespace laconic {
namespace {

constexpr std::int64_t weight_tile = 64;  // rows of W widened at a time

// y [rows, outputs] (row stride y_stride) = x [rows, in] w [outputs, in]^T on the calling thread.
void multiply_tile(const float* w, const float* x, std::int64_t rows, std::int64_t in, std::int64_t outputs,
                   float* y, std::int64_t y_stride) {
  if (rows < 4) {
    dense_dot_rows(DType::f32, reinterpret_cast<const std::byte*>(w), outputs, in, x, rows, y, y_stride);
  } else {
    gemm(Transpose::no, Transpose::yes, rows, outputs, in, 1.0f, x, in, w, in, 0.0f, y, y_stride);
  }
}

// Codes stay packed; a tile of rows is unpacked and dequantised just before it is used.
class UniformLinear : public LinearOp {
 public:
  explicit UniformLinear(const UniformMatrix& matrix) : parameters_(matrix.parameters) {
    const std::int64_t columns = parameters_.columns;
    row_bytes_ = packed_bytes(static_cast<std::uint64_t>(columns), parameters_.form.bits);
    packed_.resize(row_bytes_ * static_cast<std::size_t>(parameters_.rows));
    for (std::int64_t row = 0; row < parameters_.rows; ++row) {
      pack_bits({matrix.codes.data() + row * columns, static_cast<std::size_t>(columns)},
                parameters_.form.bits,
                {packed_.data() + static_cast<std::size_t>(row) * row_bytes_, row_bytes_});
    }
  }

  std::int64_t in_features() const override { return parameters_.columns; }
  std::int64_t out_features() const override { return parameters_.rows; }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    const std::int64_t in = in_features(), out = out_features();
    parallel_tiles(out, weight_tile, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> tile(static_cast<std::size_t>((end - begin) * in));
      expand_rows(begin, end, tile.data());
      multiply_tile(tile.data(), x, rows, in, end - begin, y + begin, out);
    });
  }

  Tensor expand() const override {
    Tensor weights(DType::f32, {out_features(), in_features()});
    parallel_tiles(out_features(), weight_tile, [&](std::int64_t begin, std::int64_t end) {
      expand_rows(begin, end, weights.f32().data() + begin * in_features());
    });
    return weights;
  }

  std::uint64_t resident_bytes() const override {
    return packed_.size() + (parameters_.step.size() + parameters_.offset.size()) * sizeof(float) +
           parameters_.centre.size();
  }

 private:
  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const {
    const std::int64_t columns = parameters_.columns;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
    for (std::int64_t row = begin; row < end; ++row) {
      unpack_bits({packed_.data() + static_cast<std::size_t>(row) * row_bytes_, row_bytes_},
                  parameters_.form.bits, codes);
      dequantize_row(codes.data(), parameters_, row, weights + (row - begin) * columns);
    }
  }

  GridParameters parameters_;
  std::size_t row_bytes_ = 0;
  std::vector<std::uint8_t> packed_;
};

}  // namespace

std::shared_ptr<LinearOp> make_linear(const Payload& payload) {
  if (payload.shape.size() != 2) fail(ErrorKind::corrupt, "a linear weight is not a matrix", payload.codec);
  return std::make_shared<UniformLinear>(parse_uniform(payload));
}

}  // namespace laconic
