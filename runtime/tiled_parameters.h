// Values per row and group (scales and offsets of a grid, factors of a low-rank magnitude) in the order the
// kernels read them: tile by tile of code planes, in a tile group by group, the rows of the tile side by
// side. Rows of padding hold zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor/dtype.h"
#include "runtime/code_planes.h"

namespace laconic {

class TiledParameters {
 public:
  TiledParameters() = default;
  // values [planes.rows(), groups], stored as `dtype` (f16, bf16 or f32).
  TiledParameters(const CodePlanes& planes, std::int64_t groups, DType dtype, std::span<const float> values);

  // Row r of group g of the tile is element g * tile.rows + r.
  const std::byte* of(const CodeTile& tile) const {
    return bytes_.data() + static_cast<std::size_t>(tile.first_row * groups_) * size_of(dtype_);
  }
  std::int64_t groups() const { return groups_; }
  DType dtype() const { return dtype_; }
  bool empty() const { return bytes_.empty(); }
  std::uint64_t bytes() const { return bytes_.size(); }

 private:
  std::int64_t groups_ = 0;
  DType dtype_ = DType::f32;
  std::vector<std::byte> bytes_;
};

}  // namespace laconic
