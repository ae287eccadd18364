#include <algorithm>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "runtime/dense_kernel.h"
#include "runtime/linear_op.h"
#include "runtime/product_tiles.h"

namespace laconic {
namespace {

// From this many rows on, unpacking a tile of the weights once and multiplying by BLAS beats the dot
// products.
constexpr std::int64_t dense_rows_for_blas = 8;
constexpr std::int64_t unpacked_rows = 512;

class DenseLinear final : public LinearOp {
 public:
  DenseLinear(TensorView weight, std::shared_ptr<const void> owner)
      : weight_(std::move(weight)), owner_(std::move(owner)) {
    require(weight_.shape.size() == 2, "a linear weight has two sides");
    require(weight_.dtype == DType::f32 || weight_.dtype == DType::f16 || weight_.dtype == DType::bf16,
            "a dense linear layer is f32, f16 or bf16");
    aligned_ = reinterpret_cast<std::uintptr_t>(weight_.data) % size_of(weight_.dtype) == 0;
  }

  std::int64_t in_features() const override { return weight_.shape[1]; }
  std::int64_t out_features() const override { return weight_.shape[0]; }
  std::uint64_t resident_bytes() const override { return weight_.bytes(); }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    if (rows < dense_rows_for_blas && aligned_) {
      multiply_few(x, rows, y);
    } else {
      multiply_many(x, rows, y);
    }
  }

  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    convert_to_f32(weight_.dtype, element(begin),
                   {weights, static_cast<std::size_t>((end - begin) * in_features())});
  }

 private:
  std::int64_t columns_per_task() const {
    return std::clamp<std::int64_t>(weights_per_task / std::max<std::int64_t>(1, in_features()), 16, 256);
  }

  void multiply_few(const float* x, std::int64_t rows, float* y) const {
    const std::int64_t out = out_features(), in = in_features();
    parallel_tiles(out, columns_per_task(), [&](std::int64_t begin, std::int64_t end) {
      dense_dot_rows(weight_.dtype, element(begin), end - begin, in, x, rows, y + begin, out);
    });
  }

  void multiply_many(const float* x, std::int64_t rows, float* y) const {
    const std::int64_t out = out_features(), in = in_features();
    const bool direct = weight_.dtype == DType::f32 && aligned_;
    parallel_tiles(out, 256, [&](std::int64_t begin, std::int64_t end) {
      thread_local std::vector<float> unpacked;
      const float* tile = reinterpret_cast<const float*>(element(begin));
      if (!direct) {
        unpacked.resize(static_cast<std::size_t>((end - begin) * in));
        convert_to_f32(weight_.dtype, element(begin), unpacked);
        tile = unpacked.data();
      }
      for (std::int64_t row = 0; row < rows; row += unpacked_rows) {
        gemm(Transpose::no, Transpose::yes, std::min(unpacked_rows, rows - row), end - begin, in, 1.0f,
             x + row * in, in, tile, in, 0.0f, y + row * out + begin, out);
      }
    });
  }

  const std::byte* element(std::int64_t row) const {
    return weight_.data + static_cast<std::size_t>(row * in_features()) * size_of(weight_.dtype);
  }

  TensorView weight_;
  std::shared_ptr<const void> owner_;
  bool aligned_ = false;
};

}  // namespace

std::shared_ptr<LinearOp> make_dense_linear(TensorView weight, std::shared_ptr<const void> owner) {
  return std::make_shared<DenseLinear>(std::move(weight), std::move(owner));
}

}  // namespace laconic
