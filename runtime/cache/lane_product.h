// Products with a matrix of codes on uniform grids that is packed by lanes (lane_codes.h), without expanding
// it:
//
//   value[l, d] = step (code - centre) + offset = step c + middle,     c = code - 2^(bits-1),
//   middle = offset + (2^(bits-1) - centre) step,
//   y[i, l] = sum over d of x[i, d] value[l, d]
//
// Either grids are shared by neighbouring lanes, and steps are folded into x once for all of them,
//   y[i, l] = sum of (x step)[i, d] c[l, d]  +  sum of x[i, d] middle[d],
// or by neighbouring depths, and what a group of depths gives is scaled afterwards,
//   y[i, l] = sum over groups of step[l] (sum of x[i, d] c[l, d])  +  middle[l] (sum of x[i, d]).
// (KIVI's products, Liu et al. 2024, arXiv 2402.02750: keys per channel are the first with lanes = tokens,
// values per token are the first with lanes = channels.)
//
// The sum over c runs in integers: for every run of 64 depths (cut at groups of depths) the factor, x step or
// x, is rounded to 16 bits with the scale s = max / 32767, max over the run and over 8 groups of lanes.
// That is an error of at most s / 2 a factor and nothing else: sums of integers are exact, and c has the
// middle of its range at 0, so that what rounding takes from all factors alike does not add up. Rounding
// apart, x meets `middle` in f32, in 16 chains that are added in pairs. So every vector width gives the bits
// of the scalar form.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cache/lane_codes.h"

namespace laconic {

// Steps and offsets of a matrix of codes, f16 or f32 at any alignment. Borrowed.
struct LaneGrids {
  // false: [groups of lanes][depth]; true: [groups of depths][lanes].
  bool along_depth = false;
  bool half = true;          // f16, else f32
  std::int64_t group = 0;    // lanes or depths of a group; 0: one for all
  std::int64_t origin = 0;   // the first lane or depth is the origin'th of what is cut into groups
  std::int64_t columns = 0;  // depth or lanes
  const std::uint8_t* step = nullptr;
  const std::uint8_t* offset = nullptr;  // null: 0
  const std::uint8_t* centre = nullptr;  // null: fixed_centre
  int fixed_centre = 0;

  std::int64_t group_of(std::int64_t at) const { return group == 0 ? 0 : (origin + at) / group; }
  // One past the last lane or depth of the group of `at`, of `count` in all.
  std::int64_t group_end(std::int64_t at, std::int64_t count) const {
    if (group == 0) return count;
    const std::int64_t end = (group_of(at) + 1) * group - origin;
    return end < count ? end : count;
  }
};

struct LaneMatrix {
  const LaneCodes* layout = nullptr;
  const std::uint8_t* codes = nullptr;
  std::int64_t lanes = 0;
  LaneGrids grids;

  // The tile that holds a lane: tiles are cut at groups of lanes.
  struct Tile {
    std::int64_t first = 0, lanes = 0;
  };
  Tile tile_of(std::int64_t lane) const {
    std::int64_t first = 0, end = lanes;
    if (!grids.along_depth && grids.group > 0) {
      first = grids.group_of(lane) * grids.group - grids.origin;
      if (first < 0) first = 0;
      end = grids.group_end(lane, lanes);
    }
    first += (lane - first) / LaneCodes::tile_lanes * LaneCodes::tile_lanes;
    return {first, end - first < LaneCodes::tile_lanes ? end - first : LaneCodes::tile_lanes};
  }
  const std::uint8_t* tile(std::int64_t first) const { return codes + first * layout->lane_bytes(); }
};

struct LaneRange {
  std::int64_t lane_begin = 0, lane_end = 0, depth_begin = 0, depth_end = 0;
};

// y[i * y_stride + l - lane_begin] = (or += when `adds`) the sum over the range's depths of
// x[i * x_stride + d - depth_begin] value[l, d], for i in [0, count).
void lane_product(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
                  std::int64_t count, float* y, std::int64_t y_stride, bool adds);
void lane_product_scalar(const LaneMatrix& matrix, const LaneRange& range, const float* x,
                         std::int64_t x_stride, std::int64_t count, float* y, std::int64_t y_stride,
                         bool adds);

// values[(l - lane_begin) * lane_stride + (d - depth_begin) * depth_stride]: the bits of step (code - centre)
// + offset.
void lane_values(const LaneMatrix& matrix, const LaneRange& range, float* values, std::int64_t lane_stride,
                 std::int64_t depth_stride);
void lane_values_scalar(const LaneMatrix& matrix, const LaneRange& range, float* values,
                        std::int64_t lane_stride, std::int64_t depth_stride);

}  // namespace laconic
