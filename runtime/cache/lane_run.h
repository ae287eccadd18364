// A run of up to 64 depths of a few queries, as the forms of lane_product share it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/cache/lane_product.h"

namespace laconic {

struct LaneRun {
  static constexpr int depths = 64;  // a multiple of what any word holds
  static constexpr int most_queries = 4;
  static constexpr int most_groups = 8;  // of lanes that share the scales of their factors
  static constexpr int chains = 16;
  static constexpr float most_factor = 32767.0f;
  // Where the largest of some numbers is below this, they vanish beside anything.
  static constexpr float least = 1e-30f;

  int queries = 0;
  std::int64_t base = 0;                      // a multiple of `depths`; x counts from here
  std::int64_t begin = 0, end = 0;            // depths of the run
  alignas(64) float x[most_queries][depths];  // 0 outside the run
  float scale[most_queries], inverse[most_queries];

  std::int64_t size() const { return end - base; }
  bool whole() const { return end - begin == depths; }

  // The run that starts at depth `at` of a range: to the end of the range, of the group of depths, or of the
  // 64 depths, whichever comes first.
  void place(const LaneMatrix& matrix, const LaneRange& range, std::int64_t at) {
    base = at / depths * depths;
    begin = at;
    end = std::min(range.depth_end, base + depths);
    if (matrix.grids.along_depth) end = std::min(end, matrix.grids.group_end(at, matrix.layout->depth()));
  }
  // x of a run that has its place, from that of the range.
  void copy(const LaneRange& range, const float* from, std::int64_t stride, int count) {
    queries = count;
    for (int m = 0; m < count; ++m) {
      const float* row = from + m * stride + (begin - range.depth_begin);
      std::fill(x[m], x[m] + (begin - base), 0.0f);
      std::copy(row, row + (end - begin), x[m] + (begin - base));
      std::fill(x[m] + size(), x[m] + depths, 0.0f);
    }
  }

  // Factors of magnitude up to `largest` in units of `unit` become integers: (x inverse) (step / unit).
  void set_scale(int m, float largest, float unit) {
    scale[m] = largest > least ? largest / most_factor * unit : 0.0f;
    inverse[m] = largest > least ? most_factor / largest : 0.0f;
  }
  static float inverse_of_unit(float unit) { return unit > least ? 1.0f / unit : 0.0f; }
};

}  // namespace laconic
