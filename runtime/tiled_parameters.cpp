#include "runtime/tiled_parameters.h"

#include <algorithm>

namespace laconic {

TiledParameters::TiledParameters(const CodePlanes& planes, std::int64_t groups, DType dtype,
                                 std::span<const float> values)
    : groups_(groups), dtype_(dtype) {
  std::vector<float> tiled(static_cast<std::size_t>(planes.padded_rows() * groups), 0.0f);
  for (std::int64_t t = 0; t < planes.tiles(); ++t) {
    const CodeTile tile = planes.tile(t);
    float* to = tiled.data() + tile.first_row * groups;
    const std::int64_t filled = std::min(tile.rows, planes.rows() - tile.first_row);
    for (std::int64_t g = 0; g < groups; ++g) {
      for (std::int64_t r = 0; r < filled; ++r) {
        to[g * tile.rows + r] = values[static_cast<std::size_t>((tile.first_row + r) * groups + g)];
      }
    }
  }
  bytes_.resize(tiled.size() * size_of(dtype));
  convert_from_f32(tiled, dtype, bytes_.data());
}

}  // namespace laconic
