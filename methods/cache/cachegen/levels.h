// How finely CacheGen quantises each layer at each of its levels, 3 the finest to 1 the coarsest.
//   uniform steps   w = spread * third * level: the first, middle and last third of the layers have steps of
//                   0.5, 1 and 1.5, levels 3, 2 and 1 multiply them by 0.5, 1 and 2
//   bins            2 C + 1 symbols, C = bins / 2 - 1, on the largest magnitude of a token; from the tables
//   of
//                   the released code, their boundaries scaled from its 32 (or 80) layers to the model's
//                   depth
#pragma once

#include <cstdint>

#include "runtime/cache/kv_shape.h"

namespace laconic {

inline constexpr int finest_level = 3, coarsest_level = 1;

float level_step(int level);                                // 0.5, 1, 2 for levels 3, 2, 1
float third_step(std::int64_t layer, std::int64_t layers);  // 0.5, 1, 1.5

// Which of the released tables of bins is used: that of models with 32 layers, or that of 80, which was
// published for one level (2).
enum class BinTable { layers_32, layers_80 };
int level_bins(BinTable table, int level, KvSide side, std::int64_t layer, std::int64_t layers);
// As the released code, which takes boundaries as they are, whatever the depth.
int level_bins_unscaled(int level, KvSide side, std::int64_t layer);

}  // namespace laconic
