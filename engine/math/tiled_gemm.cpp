#include "engine/math/tiled_gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/math/tiled_gemm_kernel.h"

namespace laconic {
namespace {

std::int64_t rounded_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

PackedColumns::PackedColumns(const float* b, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                             bool transposed) {
  pack(b, stride, depth, columns, transposed);
}

void PackedColumns::pack(const float* b, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                         bool transposed) {
  require(depth >= 1 && columns >= 1, "a product has a depth and columns");
  depth_ = depth;
  columns_ = columns;
  width_ = gemm_panel_width();
  const std::int64_t padded = rounded_up(columns, width_);
  if (storage_.elements() < padded * depth) storage_ = Tensor(DType::f32, {padded * depth});
  float* panels = storage_.f32().data();
  for (std::int64_t column = 0; column < columns; column += width_) {
    const std::int64_t width = std::min(width_, columns - column);
    float* panel = panels + column * depth;
    for (std::int64_t t = 0; t < depth; ++t, panel += width_) {
      if (transposed) {
        for (std::int64_t j = 0; j < width; ++j) panel[j] = b[(column + j) * stride + t];
      } else {
        std::memcpy(panel, b + t * stride + column, static_cast<std::size_t>(width) * sizeof(float));
      }
      std::fill(panel + width, panel + width_, 0.0f);
    }
  }
}

TileScratch::TileScratch(TileSize largest)
    : largest_(largest),
      stride_(rounded_up(largest.columns, 64)),
      storage_(DType::f32, {largest.rows * stride_}) {
  require(largest.rows >= 1 && largest.columns >= 1, "a tile has rows and columns");
}

std::span<const float> multiply_tile(const float* a, std::int64_t a_stride, const PackedColumns& b,
                                     const TileArea& area, TileScratch& scratch) {
  const std::int64_t width = b.panel_width();
  require(area.rows >= 1 && area.columns >= 1 && area.rows <= scratch.largest().rows &&
              area.columns <= scratch.largest().columns,
          "a tile fits into its scratch");
  require(area.column % width == 0 && area.column + area.columns <= b.columns(),
          "a tile begins with a panel and lies in the product");
  GemmBlock block;
  block.a_stride = a_stride;
  block.panel_stride = b.depth() * width;
  block.rows = area.rows;
  block.columns = rounded_up(area.columns, width);
  block.out = scratch.values();
  block.out_stride = scratch.stride();
  for (std::int64_t t = 0; t < b.depth(); t += gemm_depth_block) {
    block.a = a + area.row * a_stride + t;
    block.panels = b.panels() + area.column * b.depth() + t * width;
    block.depth = std::min(gemm_depth_block, b.depth() - t);
    block.first = t == 0;
    multiply_block(block);
  }
  return {scratch.values(), static_cast<std::size_t>((area.rows - 1) * scratch.stride() + area.columns)};
}

void tiled_gemm(const float* a, std::int64_t a_stride, const PackedColumns& b, std::int64_t rows, float* c,
                std::int64_t c_stride, TileSize tile) {
  TileScratch scratch(tile);
  for (std::int64_t row = 0; row < rows; row += tile.rows) {
    for (std::int64_t column = 0; column < b.columns(); column += tile.columns) {
      const TileArea area{row, std::min(tile.rows, rows - row), column,
                          std::min(tile.columns, b.columns() - column)};
      const float* values = multiply_tile(a, a_stride, b, area, scratch).data();
      for (std::int64_t i = 0; i < area.rows; ++i) {
        std::memcpy(c + (row + i) * c_stride + column, values + i * scratch.stride(),
                    static_cast<std::size_t>(area.columns) * sizeof(float));
      }
    }
  }
}

std::uint64_t tile_read_bytes(const TileArea& area, std::int64_t depth) {
  return static_cast<std::uint64_t>((area.rows + area.columns) * depth) * sizeof(float);
}

void multiply_block_scalar(const GemmBlock& block, std::int64_t width) {
  for (std::int64_t i = 0; i < block.rows; ++i) {
    for (std::int64_t j = 0; j < block.columns; ++j) {
      const float* panel = block.panels + j / width * block.panel_stride + j % width;
      float sum = 0;
      for (std::int64_t t = 0; t < block.depth; ++t)
        sum = std::fma(block.a[i * block.a_stride + t], panel[t * width], sum);
      float& out = block.out[i * block.out_stride + j];
      out = block.first ? sum : out + sum;
    }
  }
}

}  // namespace laconic
