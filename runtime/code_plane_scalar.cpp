// Scalar references of code_plane_kernel.h.
#include <algorithm>

#include "engine/tensor/dtype.h"
#include "runtime/code_plane_kernel.h"

namespace laconic {
namespace {

float parameter(const void* from, bool half, std::int64_t at) {
  return half ? f16_to_f32(static_cast<const std::uint16_t*>(from)[at]) : static_cast<const float*>(from)[at];
}

struct GroupParameters {
  float scale = 1, centre = 0, offset = 0;
  GroupParameters(const TileGrid& grid, std::int64_t at)
      : scale(grid.scale == nullptr ? grid.fixed_scale : parameter(grid.scale, grid.half, at)),
        centre(grid.centre == nullptr ? grid.fixed_centre : static_cast<float>(grid.centre[at])),
        offset(grid.offset == nullptr ? 0.0f : parameter(grid.offset, grid.half, at)) {}
};

std::uint32_t bits_at(const CodeTile& tile, const CodePart& part, std::int64_t row, std::int64_t j) {
  const int per_word = part.codes_per_word();
  const std::uint32_t word = tile.words[(part.offset + j / per_word) * tile.rows + row];
  return (word >> (static_cast<int>(j % per_word) * part.width)) & ((1u << part.width) - 1u);
}

}  // namespace

void multiply_tile_scalar(const CodeTile& tile, std::span<const CodePart> parts,
                          std::span<const ColumnRun> runs, const TileGrid& grid,
                          std::span<const PlaneInput* const> inputs, float* const* y) {
  for (std::size_t m = 0; m < inputs.size(); ++m) {
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      float total = 0;
      for (std::size_t run = 0; run < runs.size(); ++run) {
        float sum = 0;
        for (std::size_t p = 0; p < parts.size(); ++p) {
          const int width = parts[p].width, per_word = parts[p].codes_per_word();
          for (std::int64_t j = runs[run].begin; j < runs[run].end; ++j) {
            const auto k = static_cast<int>(j % per_word);
            const std::uint32_t bits = bits_at(tile, parts[p], row, j);
            const std::uint32_t placed = k == per_word - 1 ? bits : bits << (width * k);
            sum += static_cast<float>(placed) * inputs[m]->scaled[p][static_cast<std::size_t>(j)];
          }
        }
        const GroupParameters g(grid, runs[run].group * tile.rows + row);
        total += g.scale * (sum - g.centre * inputs[m]->run_sum[run]) + g.offset * inputs[m]->run_sum[run];
      }
      y[m][row] = total;
    }
  }
}

void expand_tile_scalar(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                        std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                        std::int64_t stride) {
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      std::uint32_t code = 0;
      for (const CodePart& part : parts) code |= bits_at(tile, part, row, j) << part.shift;
      const GroupParameters g(grid, j / group_columns * tile.rows + row);
      weights[(j - begin) * stride + row] = g.scale * (static_cast<float>(code) - g.centre) + g.offset;
    }
  }
}

void apply_signs_scalar(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                        std::int64_t stride) {
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      const std::uint32_t bit = tile.words[j / 32 * tile.rows + row] >> (j % 32) & 1u;
      float& weight = weights[(j - begin) * stride + row];
      if (bit == 0) weight = -weight;
    }
  }
}

}  // namespace laconic
