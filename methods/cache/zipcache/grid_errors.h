// What grids of values cost and lose: channel-separable grids of tokens against plain ones and against groups
// of 32 channels, on values with a few channels of large numbers.
#pragma once

#include <cstdint>

#include "methods/reproduce.h"
#include "runtime/cache/kv_shape.h"

namespace laconic::zipcache {

inline constexpr int grid_bits[] = {2, 3, 4};
inline constexpr float heavy_factor = 8;

// Two channels, drawn from the seed, times heavy_factor.
void make_heavy(HeadMatrix& values, std::uint64_t seed);
// Per bits b: cst.b, token.b, group.b mean squared errors, and steep.b of channel-separable grids whose
// scales are max^(3/4) in place of the root; cst, steep, token, group: bits of grids and scales per number.
ArmNumbers grid_errors(const HeadMatrix& values);

HeadMatrix normal_values(std::int64_t tokens, std::int64_t channels, std::uint64_t seed);

}  // namespace laconic::zipcache
