#include "engine/codec/shifted_target.h"

#include "engine/base/threads.h"
#include "engine/codec/row_tile.h"
#include "engine/math/blas.h"

namespace laconic {
ShiftedTarget::ShiftedTarget(const double* h, std::int64_t columns, double damping, const char* name)
    : columns_(columns),
      factor_(inverse_factor(std::vector<double>(h, h + columns * columns), columns, damping, name)) {}

std::vector<float> ShiftedTarget::weights(const float* weights, std::int64_t rows,
                                          const double* input_deviation, const double* output_deviation,
                                          double share) const {
  std::vector<float> result(weights, weights + rows * columns_);
  parallel_tiles(rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t height = end - begin, at = begin * columns_, n = columns_;
    std::vector<double> w(weights + at, weights + end * n), moved(w.size(), 0.0);
    if (output_deviation != nullptr) moved.assign(output_deviation + at, output_deviation + end * n);
    gemm(Transpose::no, Transpose::no, height, n, n, 1.0, w.data(), n, input_deviation, n, 1.0, moved.data(),
         n);
    gemm(Transpose::no, Transpose::yes, height, n, n, 1.0, moved.data(), n, factor_.upper.data(), n, 0.0,
         w.data(), n);
    gemm(Transpose::no, Transpose::no, height, n, n, share, w.data(), n, factor_.upper.data(), n, 0.0,
         moved.data(), n);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      float& value = result[static_cast<std::size_t>(at) + i];
      value = static_cast<float>(static_cast<double>(value) + moved[i]);
    }
  });
  return result;
}

}  // namespace laconic
