#include "methods/cache/cachegen/levels.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"

namespace laconic {
namespace {

struct SideBins {
  std::array<int, 3> keys;    // up to the first boundary, up to the second, beyond
  std::array<int, 2> values;  // the first layers, the others
};
constexpr std::array<SideBins, 3> bins_of_32 = {{
    {{16, 16, 12}, {16, 12}},  // level 1
    {{32, 16, 16}, {32, 16}},
    {{32, 32, 32}, {32, 32}},
}};
constexpr SideBins bins_of_80 = {{32, 32, 16}, {32, 16}};

struct Boundaries {
  std::int64_t keys_first, keys_second, values_first;
};

int pick(const SideBins& bins, const Boundaries& ends, KvSide side, std::int64_t layer) {
  if (side == KvSide::values) return bins.values[layer < ends.values_first ? 0 : 1];
  return bins.keys[layer < ends.keys_first ? 0 : layer < ends.keys_second ? 1 : 2];
}

void require_level(int level) {
  require(level >= coarsest_level && level <= finest_level, "a level is 1, 2 or 3");
}

}  // namespace

float level_step(int level) {
  require_level(level);
  return level == 3 ? 0.5f : level == 2 ? 1.0f : 2.0f;
}

float third_step(std::int64_t layer, std::int64_t layers) {
  constexpr std::array<float, 3> thirds = {0.5f, 1.0f, 1.5f};
  return thirds[static_cast<std::size_t>(3 * layer / layers)];
}

int level_bins(BinTable table, int level, KvSide side, std::int64_t layer, std::int64_t layers) {
  require_level(level);
  if (table == BinTable::layers_80)
    return pick(bins_of_80, {20 * layers / 80, 40 * layers / 80, 20 * layers / 80}, side, layer);
  return pick(bins_of_32[static_cast<std::size_t>(level - 1)],
              {10 * layers / 32, 20 * layers / 32, std::max<std::int64_t>(1, 2 * layers / 32)}, side, layer);
}

int level_bins_unscaled(int level, KvSide side, std::int64_t layer) {
  require_level(level);
  return pick(bins_of_32[static_cast<std::size_t>(level - 1)], {10, 20, 2}, side, layer);
}

}  // namespace laconic
