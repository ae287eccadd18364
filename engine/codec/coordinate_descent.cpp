#include "engine/codec/coordinate_descent.h"

#include <numeric>
#include <vector>

#include "engine/base/threads.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::int64_t descent_rows = 32;

}  // namespace

std::int64_t coordinate_descent(const float* weights, UniformMatrix& matrix, const double* h, int sweeps) {
  const GridParameters& p = matrix.parameters;
  const std::int64_t n = p.columns, width = p.form.group_columns(n);
  std::vector<std::int64_t> moves(static_cast<std::size_t>(p.rows), 0);
  parallel_tiles(p.rows, descent_rows, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    std::vector<float> decoded(static_cast<std::size_t>(rows * n));
    std::vector<double> residual(decoded.size()), pull(decoded.size());
    for (std::int64_t row = 0; row < rows; ++row) {
      dequantize_row(matrix.codes.data() + (begin + row) * n, p, begin + row, decoded.data() + row * n);
      for (std::int64_t j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(row * n + j);
        residual[at] = static_cast<double>(weights[(begin + row) * n + j]) - static_cast<double>(decoded[at]);
      }
    }
    gemm(Transpose::no, Transpose::no, rows, n, n, 1.0, residual.data(), n, h, n, 0.0, pull.data(), n);
    for (std::int64_t row = 0; row < rows; ++row) {
      float* now = decoded.data() + row * n;
      double* g = pull.data() + row * n;
      std::uint8_t* codes = matrix.codes.data() + (begin + row) * n;
      for (int sweep = 0; sweep < sweeps; ++sweep) {
        std::int64_t moved = 0;
        for (std::int64_t j = 0; j < n; ++j) {
          const double curvature = h[j * n + j];
          if (!(curvature > 0)) continue;
          const std::size_t index = p.at(begin + row, j / width);
          const int code = p.nearest_code(index, static_cast<float>(now[j] + g[j] / curvature));
          if (code == codes[j]) continue;
          const float value = p.value(index, code);
          const double change = static_cast<double>(value) - static_cast<double>(now[j]);
          if (!(change * (change * curvature - 2 * g[j]) < 0)) continue;
          for (std::int64_t k = 0; k < n; ++k) g[k] -= change * h[j * n + k];
          now[j] = value;
          codes[j] = static_cast<std::uint8_t>(code);
          ++moved;
        }
        moves[static_cast<std::size_t>(begin + row)] += moved;
        if (moved == 0) break;
      }
    }
  });
  return std::accumulate(moves.begin(), moves.end(), std::int64_t{0});
}

}  // namespace laconic
