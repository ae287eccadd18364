// Scalar references of lane_product.h.
#include <cmath>
#include <cstring>

#include "engine/tensor/dtype.h"
#include "runtime/cache/lane_run.h"

namespace laconic {
namespace {

float number_at(const std::uint8_t* from, bool half, std::int64_t at) {
  if (half) {
    std::uint16_t bits;
    std::memcpy(&bits, from + at * 2, 2);
    return f16_to_f32(bits);
  }
  float value;
  std::memcpy(&value, from + at * 4, 4);
  return value;
}

struct LaneGrid {
  float step = 0, offset = 0, middle = 0;
  int centre = 0;
  LaneGrid(const LaneMatrix& matrix, std::int64_t lane, std::int64_t depth) {
    const LaneGrids& grids = matrix.grids;
    const std::int64_t at = grids.along_depth ? grids.group_of(depth) * grids.columns + lane
                                              : grids.group_of(lane) * grids.columns + depth;
    step = number_at(grids.step, grids.half, at);
    if (grids.offset != nullptr) offset = number_at(grids.offset, grids.half, at);
    centre = grids.centre != nullptr ? grids.centre[at] : grids.fixed_centre;
    const int half_range = 1 << (matrix.layout->bits() - 1);
    middle = offset + static_cast<float>(half_range - centre) * step;
  }
};

int nearest_factor(float value) {
  return static_cast<int>(std::lrintf(std::fmin(std::fmax(value, -32768.0f), 32767.0f)));
}

// Sum of the products in 16 chains, added in halves and then in pairs.
template <class Product>
float chain_sum(const LaneRun& run, const Product& product) {
  float chains[LaneRun::chains] = {};
  for (std::int64_t i = 0; i < run.size(); ++i) chains[i % LaneRun::chains] += product(i);
  for (int width = LaneRun::chains / 2; width > 2; width /= 2) {
    for (int c = 0; c < width; ++c) chains[c] += chains[c + width];
  }
  return (chains[0] + chains[1]) + (chains[2] + chains[3]);
}

int signed_code(const LaneMatrix& matrix, std::int64_t lane, std::int64_t depth) {
  const LaneMatrix::Tile tile = matrix.tile_of(lane);
  const int code = matrix.layout->code(matrix.tile(tile.first), tile.lanes, lane - tile.first, depth);
  return code - (1 << (matrix.layout->bits() - 1));
}

// The lanes whose factors share their scale with those of `lane`.
LaneRange lanes_that_share(const LaneMatrix& matrix, const LaneRange& range, std::int64_t lane) {
  const LaneGrids& grids = matrix.grids;
  if (grids.along_depth || grids.group == 0) return range;
  const std::int64_t begin = grids.group_of(range.lane_begin);
  const std::int64_t first =
      begin + (grids.group_of(lane) - begin) / LaneRun::most_groups * LaneRun::most_groups;
  LaneRange shared = range;
  shared.lane_begin = std::max(range.lane_begin, first * grids.group - grids.origin);
  shared.lane_end = std::min(range.lane_end, (first + LaneRun::most_groups) * grids.group - grids.origin);
  return shared;
}

// What a run gives to one lane of one query.
float lane_term(const LaneMatrix& matrix, const LaneRange& range, std::int64_t lane, LaneRun& run) {
  const bool scaled = matrix.grids.along_depth;
  const float* x = run.x[0];
  float largest[LaneRun::depths] = {}, unit = 1, per_unit = 1, most = 0;
  if (!scaled) {
    const LaneRange shared = lanes_that_share(matrix, range, lane);
    unit = 0;
    for (std::int64_t i = 0; i < run.size(); ++i) {
      for (std::int64_t l = shared.lane_begin; l < shared.lane_end;
           l = matrix.grids.group_end(l, matrix.lanes))
        largest[i] = std::fmax(largest[i], std::fabs(LaneGrid(matrix, l, run.base + i).step));
      unit = std::fmax(unit, largest[i]);
    }
    per_unit = LaneRun::inverse_of_unit(unit);
  }
  for (std::int64_t i = 0; i < run.size(); ++i)
    most = std::fmax(most, std::fabs(scaled ? x[i] : x[i] * (largest[i] * per_unit)));
  run.set_scale(0, most, unit);
  std::int32_t sum = 0;
  for (std::int64_t d = run.begin; d < run.end; ++d) {
    float factor = x[d - run.base] * run.inverse[0];
    if (!scaled) factor *= LaneGrid(matrix, lane, d).step * per_unit;
    sum += nearest_factor(factor) * signed_code(matrix, lane, d);
  }
  const float value = run.scale[0] * static_cast<float>(sum);
  if (scaled) {
    const LaneGrid grid(matrix, lane, run.begin);
    return grid.step * value + grid.middle * chain_sum(run, [&](std::int64_t i) { return x[i]; });
  }
  return value +
         chain_sum(run, [&](std::int64_t i) { return x[i] * LaneGrid(matrix, lane, run.base + i).middle; });
}

}  // namespace

void lane_product_scalar(const LaneMatrix& matrix, const LaneRange& range, const float* x,
                         std::int64_t x_stride, std::int64_t count, float* y, std::int64_t y_stride,
                         bool adds) {
  LaneRun run;
  for (std::int64_t query = 0; query < count; ++query) {
    float* to = y + query * y_stride;
    if (!adds) std::fill(to, to + (range.lane_end - range.lane_begin), 0.0f);
    for (std::int64_t at = range.depth_begin; at < range.depth_end; at = run.end) {
      run.place(matrix, range, at);
      run.copy(range, x + query * x_stride, x_stride, 1);
      for (std::int64_t lane = range.lane_begin; lane < range.lane_end; ++lane)
        to[lane - range.lane_begin] += lane_term(matrix, range, lane, run);
    }
  }
}

void lane_values_scalar(const LaneMatrix& matrix, const LaneRange& range, float* values,
                        std::int64_t lane_stride, std::int64_t depth_stride) {
  for (std::int64_t lane = range.lane_begin; lane < range.lane_end; ++lane) {
    const LaneMatrix::Tile tile = matrix.tile_of(lane);
    for (std::int64_t depth = range.depth_begin; depth < range.depth_end; ++depth) {
      const LaneGrid grid(matrix, lane, depth);
      const int code = matrix.layout->code(matrix.tile(tile.first), tile.lanes, lane - tile.first, depth);
      values[(lane - range.lane_begin) * lane_stride + (depth - range.depth_begin) * depth_stride] =
          grid.step * static_cast<float>(code - grid.centre) + grid.offset;
    }
  }
}

}  // namespace laconic
