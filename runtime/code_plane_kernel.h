// Products straight from code planes (code_planes.h). The kernels loop over one tile; they allocate and check
// nothing. Vector forms fuse multiply and add where the machine does, so they differ from the scalar
// references by rounding.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/code_planes.h"

namespace laconic {

// Grid parameters of one tile: row r of group g at g * tile rows + r; rows of padding hold zeros.
//   w_hat = scale (code - centre) + offset
struct TileGrid {
  const void* scale = nullptr;           // f16 or f32; null: fixed_scale for all
  const void* offset = nullptr;          // the same type, or null: 0
  bool half = true;                      // f16
  const std::uint8_t* centre = nullptr;  // null: fixed_centre for all
  float fixed_centre = 0, fixed_scale = 1;
};

// y[m][r] = sum over runs of scale (q . x_m - centre sum x_m) + offset sum x_m, for every row r of the tile
// and every input m. Requires 1, 2 or 4 inputs prepared for these parts and runs; y[m] holds tile.rows floats
// for each m.
void multiply_tile(const CodeTile& tile, std::span<const CodePart> parts, std::span<const ColumnRun> runs,
                   const TileGrid& grid, std::span<const PlaneInput* const> inputs, float* const* y);
void multiply_tile_scalar(const CodeTile& tile, std::span<const CodePart> parts,
                          std::span<const ColumnRun> runs, const TileGrid& grid,
                          std::span<const PlaneInput* const> inputs, float* const* y);

// weights[(j - begin) * stride + r] = w_hat of row r of the tile and column j, for j in [begin, end): the
// bits that decoding gives. `group_columns` maps columns to groups.
void expand_tile(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                 std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                 std::int64_t stride);
void expand_tile_scalar(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                        std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                        std::int64_t stride);

// weights[(j - begin) * stride + r] changes its sign where the one-bit code of row r and column j is 0.
void apply_signs(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                 std::int64_t stride);
void apply_signs_scalar(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                        std::int64_t stride);

}  // namespace laconic
