#include "runtime/uniform_linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/base/threads.h"
#include "engine/codec/uniform_payload.h"
#include "engine/math/blas.h"
#include "runtime/code_plane_kernel.h"
#include "runtime/code_planes.h"
#include "runtime/product_tiles.h"
#include "runtime/tiled_parameters.h"

namespace laconic {
namespace {

// Weights are read so fast when they are packed that a task takes more of them than elsewhere.
constexpr std::int64_t packed_weights_per_task = 2 * weights_per_task;
// From this many rows of x on, BLAS over expanded tiles is faster than the packed product.
constexpr std::int64_t uniform_rows_for_blas = 16;

bool has_offset(GridKind kind) { return kind == GridKind::affine_min || kind == GridKind::affine_free; }

class UniformLinear final : public LinearOp {
 public:
  explicit UniformLinear(const UniformMatrix& matrix)
      : form_(matrix.parameters.form),
        rows_(matrix.parameters.rows),
        columns_(matrix.parameters.columns),
        half_(matrix.parameters.dtype == DType::f16),
        planes_(rows_, columns_, form_.bits),
        runs_(column_runs(columns_, form_.group_columns(columns_))) {
    const GridParameters& p = matrix.parameters;
    parallel_tiles(rows_, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        planes_.set_row(row, {matrix.codes.data() + row * columns_, static_cast<std::size_t>(columns_)});
      }
    });
    scale_ = TiledParameters(planes_, p.groups, p.dtype, p.step);
    if (has_offset(form_.kind)) offset_ = TiledParameters(planes_, p.groups, p.dtype, p.offset);
    if (form_.kind != GridKind::affine_zero) return;
    centre_.resize(static_cast<std::size_t>(planes_.padded_rows() * p.groups));
    for (std::int64_t t = 0; t < planes_.tiles(); ++t) {
      const CodeTile tile = planes_.tile(t);
      const std::int64_t filled = std::min(tile.rows, rows_ - tile.first_row);
      for (std::int64_t g = 0; g < p.groups; ++g) {
        for (std::int64_t r = 0; r < filled; ++r) {
          centre_[static_cast<std::size_t>(tile.first_row * p.groups + g * tile.rows + r)] =
              p.centre[p.at(tile.first_row + r, g)];
        }
      }
    }
  }

  std::int64_t in_features() const override { return columns_; }
  std::int64_t out_features() const override { return rows_; }
  std::uint64_t resident_bytes() const override {
    return planes_.bytes() + scale_.bytes() + offset_.bytes() + centre_.size();
  }

  void multiply(const float* x, std::int64_t rows, float* y) const override {
    if (rows < uniform_rows_for_blas) {
      multiply_packed(x, rows, y);
    } else {
      multiply_expanded(x, rows, y);
    }
  }

  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    std::vector<float> part(static_cast<std::size_t>(expanded_columns * CodePlanes::wide_tile));
    for (std::int64_t row = begin; row < end;) {
      const CodeTile tile = planes_.tile(planes_.tile_of(row));
      const std::int64_t first = row, last = std::min(end, tile.first_row + tile.rows);
      for (std::int64_t column = 0; column < columns_; column += expanded_columns) {
        const std::int64_t stop = std::min(columns_, column + expanded_columns);
        expand_tile(tile, planes_.parts(), grid(tile), form_.group_columns(columns_), column, stop,
                    part.data(), tile.rows);
        for (row = first; row < last; ++row) {
          float* to = weights + (row - begin) * columns_;
          const float* from = part.data() + (row - tile.first_row);
          for (std::int64_t j = column; j < stop; ++j) to[j] = from[(j - column) * tile.rows];
        }
      }
      row = last;
    }
  }

 private:
  TileGrid grid(const CodeTile& tile) const {
    TileGrid grid;
    grid.scale = scale_.of(tile);
    grid.offset = offset_.empty() ? nullptr : offset_.of(tile);
    grid.half = half_;
    grid.centre = centre_.empty() ? nullptr : centre_.data() + tile.first_row * form_.groups(columns_);
    grid.fixed_centre = static_cast<float>(form_.centre());
    return grid;
  }

  void multiply_packed(const float* x, std::int64_t rows, float* y) const {
    std::vector<PlaneInput> inputs(static_cast<std::size_t>(rows));
    for (std::int64_t r = 0; r < rows; ++r) {
      prepare_input(planes_, runs_, x + r * columns_, nullptr, inputs[static_cast<std::size_t>(r)]);
    }
    const std::int64_t per_tile = CodePlanes::wide_tile * std::max<std::int64_t>(1, columns_);
    parallel_tiles(planes_.tiles(), std::max<std::int64_t>(1, packed_weights_per_task / per_tile),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t t = begin; t < end; ++t) multiply_one(planes_.tile(t), inputs, y);
                   });
  }

  // The codes of a tile stay in the cache while four inputs at a time pass over them.
  void multiply_one(const CodeTile& tile, const std::vector<PlaneInput>& inputs, float* y) const {
    float sums[4][CodePlanes::wide_tile];
    const std::int64_t filled = std::min(tile.rows, rows_ - tile.first_row);
    for (std::size_t first = 0; first < inputs.size();) {
      const std::size_t left = inputs.size() - first, count = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      const PlaneInput* pointers[4] = {};
      float* outputs[4] = {};
      for (std::size_t m = 0; m < count; ++m) {
        pointers[m] = &inputs[first + m];
        outputs[m] = sums[m];
      }
      multiply_tile(tile, planes_.parts(), runs_, grid(tile), {pointers, count}, outputs);
      for (std::size_t m = 0; m < count; ++m) {
        std::memcpy(y + static_cast<std::int64_t>(first + m) * rows_ + tile.first_row, sums[m],
                    static_cast<std::size_t>(filled) * sizeof(float));
      }
      first += count;
    }
  }

  void multiply_expanded(const float* x, std::int64_t rows, float* y) const {
    parallel_tiles(rows_, expanded_rows, [&](std::int64_t first_row, std::int64_t last_row) {
      thread_local std::vector<float> expanded;
      expanded.resize(static_cast<std::size_t>(expanded_columns * expanded_rows));
      for (std::int64_t begin = 0; begin < columns_; begin += expanded_columns) {
        const std::int64_t end = std::min(columns_, begin + expanded_columns);
        for (std::int64_t t = planes_.tile_of(first_row); t < planes_.tiles(); ++t) {
          const CodeTile tile = planes_.tile(t);
          if (tile.first_row >= last_row) break;
          expand_tile(tile, planes_.parts(), grid(tile), form_.group_columns(columns_), begin, end,
                      expanded.data() + (tile.first_row - first_row), expanded_rows);
        }
        gemm(Transpose::no, Transpose::no, rows, last_row - first_row, end - begin, 1.0f, x + begin, columns_,
             expanded.data(), expanded_rows, begin == 0 ? 0.0f : 1.0f, y + first_row, rows_);
      }
    });
  }

  GridForm form_;
  std::int64_t rows_ = 0, columns_ = 0;
  bool half_ = true;
  CodePlanes planes_;
  std::vector<ColumnRun> runs_;
  TiledParameters scale_, offset_;
  std::vector<std::uint8_t> centre_;
};

}  // namespace

std::shared_ptr<LinearOp> make_uniform_linear(const Payload& payload) {
  return std::make_shared<UniformLinear>(parse_uniform(payload));
}

}  // namespace laconic
