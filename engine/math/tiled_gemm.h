// A product of matrices that is made tile by tile, so that whoever needs a part of it need not wait for all
// of it:  C [rows, columns] = A [rows, depth] B [depth, columns],  f32, row-major.
//
// The depth is cut into blocks; a block's sum is formed in registers by fused multiply-adds in the order of
// the depth and added once to the tile, which lies in the worker's scratch. What belongs to others is never
// added to before it is whole. A tile's bits depend on the depth alone, not on its size, its neighbours, the
// threads or the width of vectors (targets without fused multiply-adds round twice).
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor/tensor.h"

namespace laconic {

constexpr std::int64_t gemm_depth_block = 256;
// Tiles begin at multiples of it: it holds whole panels of every target.
constexpr std::int64_t gemm_column_unit = 32;

struct TileSize {
  std::int64_t rows = 128, columns = 128;
};

// B in the order in which the kernel reads it: panels of as many columns as a register block has, padded with
// zeros. Serves any number of products, from any thread.
class PackedColumns {
 public:
  PackedColumns() = default;
  // `transposed`: `b` holds B^T, [columns, depth]. `stride` is that of the rows of what it holds.
  PackedColumns(const float* b, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                bool transposed = false);
  // Packs anew, into the same memory when it suffices.
  void pack(const float* b, std::int64_t stride, std::int64_t depth, std::int64_t columns,
            bool transposed = false);

  std::int64_t depth() const { return depth_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t panel_width() const { return width_; }
  const float* panels() const { return storage_.f32().data(); }  // aligned to 64 bytes

 private:
  std::int64_t depth_ = 0, columns_ = 0, width_ = 1;
  Tensor storage_;
};

// What one worker makes its tiles in.
class TileScratch {
 public:
  explicit TileScratch(TileSize largest = {});
  float* values() { return storage_.f32().data(); }
  std::int64_t stride() const { return stride_; }
  TileSize largest() const { return largest_; }

 private:
  TileSize largest_;
  std::int64_t stride_;
  Tensor storage_;
};

// A rectangle of C.
struct TileArea {
  std::int64_t row = 0, rows = 0, column = 0, columns = 0;
};

// The tile of C = A B; the rows of the result are `stride()` of the scratch apart and stay valid until its
// next tile. `area.column` is a multiple of gemm_column_unit.
std::span<const float> multiply_tile(const float* a, std::int64_t a_stride, const PackedColumns& b,
                                     const TileArea& area, TileScratch& scratch);

// The whole product on the calling thread, tile after tile.
void tiled_gemm(const float* a, std::int64_t a_stride, const PackedColumns& b, std::int64_t rows, float* c,
                std::int64_t c_stride, TileSize tile = {});

// Bytes of A and B that a tile reads.
std::uint64_t tile_read_bytes(const TileArea& area, std::int64_t depth);

}  // namespace laconic
