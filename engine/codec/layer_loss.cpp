#include "engine/codec/layer_loss.h"

#include <algorithm>
#include <vector>

#include "engine/base/threads.h"
#include "engine/codec/row_tile.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::int64_t column_tile = 256;  // columns of H narrowed to f32 at a time

double sum_of(const std::vector<double>& parts) {
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

double sum_of_row_squares(const float* values, std::int64_t rows, std::int64_t columns) {
  std::vector<double> parts(static_cast<std::size_t>(rows), 0.0);
  parallel_tiles(rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      double sum = 0;
      for (std::int64_t j = 0; j < columns; ++j) {
        const auto value = static_cast<double>(values[row * columns + j]);
        sum += value * value;
      }
      parts[static_cast<std::size_t>(row)] = sum;
    }
  });
  return sum_of(parts);
}

}  // namespace

double layer_loss(const float* difference, std::int64_t rows, std::int64_t columns, const double* h) {
  if (h == nullptr) return sum_of_row_squares(difference, rows, columns);
  const std::int64_t tiles = (columns + column_tile - 1) / column_tile;
  std::vector<double> parts(static_cast<std::size_t>(tiles), 0.0);
  parallel_for(tiles, [&](std::int64_t tile) {
    const std::int64_t first = tile * column_tile, width = std::min(column_tile, columns - first);
    std::vector<float> panel(static_cast<std::size_t>(columns * width));
    for (std::int64_t i = 0; i < columns; ++i) {
      const double* from = h + i * columns + first;
      float* to = panel.data() + i * width;
      for (std::int64_t j = 0; j < width; ++j) to[j] = static_cast<float>(from[j]);
    }
    std::vector<float> product(static_cast<std::size_t>(std::min(rows, row_tile) * width));
    double sum = 0;
    for (std::int64_t row = 0; row < rows; row += row_tile) {
      const std::int64_t count = std::min(row_tile, rows - row);
      gemm(Transpose::no, Transpose::no, count, width, columns, 1.0f, difference + row * columns, columns,
           panel.data(), width, 0.0f, product.data(), width);
      for (std::int64_t r = 0; r < count; ++r) {
        const float* d = difference + (row + r) * columns + first;
        const float* p = product.data() + r * width;
        for (std::int64_t j = 0; j < width; ++j) sum += static_cast<double>(d[j]) * static_cast<double>(p[j]);
      }
    }
    parts[static_cast<std::size_t>(tile)] = sum;
  });
  return sum_of(parts);
}

}  // namespace laconic
