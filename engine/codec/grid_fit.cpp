// Range-based fits of uniform grids and the search for the best clipped range.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/row_tile.h"
#include "engine/codec/uniform_grid.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

struct Range {
  float low = 0, high = 0;
};

// Factors on the two ends of a range.
struct Shrink {
  float low = 1, high = 1;
};

Range range_of(std::span<const float> weights) {
  Range range{weights[0], weights[0]};
  for (const float w : weights) {
    range.low = std::min(range.low, w);
    range.high = std::max(range.high, w);
  }
  return range;
}

bool stored_well(DType dtype, float value, float scale) {
  const float stored = rounded_to(dtype, value);
  return std::isfinite(stored) && std::abs(stored - value) <= 0x1p-10f * scale;
}

// Step of a range over `levels` steps. Halves first: the difference of two huge numbers overflows, the
// difference of their halves does not.
float step_of(Range range, float levels) { return (range.high / 2 - range.low / 2) / levels * 2; }

// The largest power of two up to `largest` by which `value` can be divided so that the stored quotient times
// it is still the stored value; subnormal values allow only small ones.
int exact_level(float value, int largest, DType dtype) {
  int level = largest;
  const float stored = rounded_to(dtype, value);
  while (level > 1 &&
         rounded_to(dtype, value / static_cast<float>(level)) * static_cast<float>(level) != stored) {
    level /= 2;
  }
  return level;
}

bool fit_equal_values(float value, GridParameters& p, std::size_t index) {
  const GridForm& form = p.form;
  float& step = p.step[index];
  p.offset[index] = 0;
  if (form.kind == GridKind::affine_min || form.kind == GridKind::affine_free) {
    step = 0;
    p.offset[index] = rounded_to(p.dtype, value);
    return stored_well(p.dtype, value, std::abs(value));
  }
  int level = 1 << (form.bits - 1);
  if (form.kind == GridKind::symmetric) level /= 2;
  level = exact_level(value, level, p.dtype);
  const float quotient = value / static_cast<float>(level);
  switch (form.kind) {
    case GridKind::affine_zero:
      step = rounded_to(p.dtype, std::abs(quotient));
      p.centre[index] = static_cast<std::uint8_t>(value < 0 ? form.highest_code() : 0);
      break;
    case GridKind::symmetric:
      step = rounded_to(p.dtype, std::abs(quotient));
      break;
    default:  // symmetric_full: its longest arm is the negative one
      step = rounded_to(p.dtype, -quotient);
      break;
  }
  // Judged on what decodes: the quotient of a subnormal may be zero without any visible loss of its own.
  const float decoded = std::abs(step) * static_cast<float>(level);
  return std::isfinite(decoded) && std::abs(decoded - std::abs(value)) <= 0x1p-10f * std::abs(value);
}

bool fit_range(Range range, GridParameters& p, std::size_t index, Shrink shrink) {
  const GridForm& form = p.form;
  if (range.low == range.high) return fit_equal_values(range.low, p, index);
  range = {range.low * shrink.low, range.high * shrink.high};
  const float levels = static_cast<float>(form.highest_code());
  float exact_step = 0, exact_offset = 0;
  float& step = p.step[index];
  float& offset = p.offset[index];
  offset = 0;
  switch (form.kind) {
    case GridKind::affine_min:
    case GridKind::affine_free:
    case GridKind::affine_zero:
      if (form.kind == GridKind::affine_zero) range = {std::min(range.low, 0.0f), std::max(range.high, 0.0f)};
      // A grid whose span overflows f32 cannot be decoded.
      if (!(range.high / 2 - range.low / 2 < 0.499f * std::numeric_limits<float>::max())) {
        range = {range.low / 2.01f, range.high / 2.01f};
      }
      exact_step = step_of(range, levels);
      step = rounded_to(p.dtype, exact_step);
      if (form.kind == GridKind::affine_zero) {
        const float zero = step == 0 ? 0 : std::nearbyint(-range.low / step);
        // Bounded so that what is not a number, where the dtype is left, is bounded as well.
        p.centre[index] = static_cast<std::uint8_t>(std::max(0.0f, std::min(levels, zero)));
      } else {
        exact_offset = range.low + step * static_cast<float>(form.centre());
        offset = rounded_to(p.dtype, exact_offset);
      }
      break;
    case GridKind::symmetric: {
      const float largest = std::max(std::abs(range.low), std::abs(range.high));
      const float arm = static_cast<float>((1 << (form.bits - 1)) - 1);
      exact_step = largest / arm;
      // Rounding up must not carry the ends beyond the largest f32.
      if (!std::isfinite(exact_step * arm)) exact_step = std::nextafter(exact_step, 0.0f);
      step = rounded_to(p.dtype, exact_step);
      break;
    }
    case GridKind::symmetric_full: {
      const float extreme = -range.low >= range.high ? range.low : range.high;
      exact_step = extreme / -static_cast<float>(1 << (form.bits - 1));
      step = rounded_to(p.dtype, exact_step);
      break;
    }
  }
  return stored_well(p.dtype, exact_step, std::abs(exact_step)) &&
         stored_well(p.dtype, exact_offset, std::max(std::abs(exact_step), std::abs(exact_offset)));
}

std::vector<Shrink> shrinks(const ClipCandidates& candidates) {
  require(candidates.smallest > 0 && candidates.smallest <= 1 && candidates.step > 0,
          "clip candidates are legal");
  const int count = static_cast<int>(std::floor((1 - candidates.smallest) / candidates.step + 1e-3f)) + 1;
  std::vector<Shrink> list;
  for (int i = 0; i < count; ++i) {
    const float one = 1 - candidates.step * static_cast<float>(i);
    if (!candidates.separate) {
      list.push_back({one, one});
      continue;
    }
    for (int j = 0; j < count; ++j) list.push_back({one, 1 - candidates.step * static_cast<float>(j)});
  }
  return list;
}

// Scratch for trying grids on one group.
struct Trial {
  std::vector<std::uint8_t> codes;
  std::vector<float> decoded;
};

bool fit_least_squared_error(std::span<const float> weights, GridParameters& p, std::size_t index,
                             const std::vector<Shrink>& candidates, Trial& trial) {
  const Range range = range_of(weights);
  if (range.low == range.high) return fit_range(range, p, index, {});
  trial.codes.resize(weights.size());
  trial.decoded.resize(weights.size());
  double least = HUGE_VAL;
  Shrink best;
  for (const Shrink& shrink : candidates) {
    fit_range(range, p, index, shrink);
    quantize_group(weights, p, index, Rounding::nearest_even, trial.codes.data());
    dequantize_group(trial.codes, p, index, trial.decoded.data());
    double loss = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double error = static_cast<double>(weights[i]) - static_cast<double>(trial.decoded[i]);
      loss += error * error;
    }
    if (loss < least) {
      least = loss;
      best = shrink;
    }
  }
  return fit_range(range, p, index, best);
}

// One group of a tile of rows by the loss d H_gg d^T; true when the dtype holds all of it.
bool fit_least_h_loss(const float* weights, std::int64_t begin, std::int64_t end, std::int64_t g,
                      GridParameters& p, const std::vector<Shrink>& candidates,
                      const std::vector<float>& block) {
  const std::int64_t width = p.form.group_columns(p.columns), first = g * width;
  const std::int64_t count = std::min(width, p.columns - first), rows = end - begin;
  std::vector<float> difference(static_cast<std::size_t>(rows * count)), product(difference.size());
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
  std::vector<double> least(static_cast<std::size_t>(rows), HUGE_VAL);
  std::vector<Shrink> best(static_cast<std::size_t>(rows));
  std::vector<Range> ranges;
  const auto group = [&](std::int64_t row) {
    return std::span<const float>(weights + (begin + row) * p.columns + first,
                                  static_cast<std::size_t>(count));
  };
  for (std::int64_t row = 0; row < rows; ++row) ranges.push_back(range_of(group(row)));
  for (const Shrink& shrink : candidates) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::size_t index = p.at(begin + row, g);
      float* d = difference.data() + row * count;
      fit_range(ranges[static_cast<std::size_t>(row)], p, index, shrink);
      quantize_group(group(row), p, index, Rounding::nearest_even, codes.data());
      dequantize_group(codes, p, index, d);
      for (std::int64_t j = 0; j < count; ++j) d[j] -= group(row)[static_cast<std::size_t>(j)];
    }
    gemm(Transpose::no, Transpose::no, rows, count, count, 1.0f, difference.data(), count, block.data(),
         count, 0.0f, product.data(), count);
    for (std::int64_t row = 0; row < rows; ++row) {
      double loss = 0;
      for (std::int64_t j = 0; j < count; ++j) {
        const auto at = static_cast<std::size_t>(row * count + j);
        loss += static_cast<double>(difference[at]) * static_cast<double>(product[at]);
      }
      if (loss < least[static_cast<std::size_t>(row)]) {
        least[static_cast<std::size_t>(row)] = loss;
        best[static_cast<std::size_t>(row)] = shrink;
      }
    }
  }
  bool held = true;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto r = static_cast<std::size_t>(row);
    held &= fit_range(ranges[r], p, p.at(begin + row, g), best[r]);
  }
  return held;
}

// Fits every group with the dtype of p; false when that dtype loses too much somewhere.
bool fit_all(const float* weights, GridParameters& p, ClipSearch clip, const std::vector<Shrink>& candidates,
             const double* h) {
  const std::int64_t columns = p.columns, width = p.form.group_columns(columns);
  std::atomic<bool> held = true;
  if (clip == ClipSearch::h_loss) {
    for (std::int64_t g = 0; g < p.groups; ++g) {
      const std::int64_t first = g * width, count = std::min(width, columns - first);
      std::vector<float> block;
      for (std::int64_t i = first; i < first + count; ++i) {
        block.insert(block.end(), h + i * columns + first, h + i * columns + first + count);
      }
      parallel_tiles(p.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
        if (!fit_least_h_loss(weights, begin, end, g, p, candidates, block)) held = false;
      });
    }
    return held;
  }
  parallel_tiles(p.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    Trial trial;
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t g = 0; g < p.groups; ++g) {
        const std::int64_t first = g * width;
        const std::span<const float> group(weights + row * columns + first,
                                           static_cast<std::size_t>(std::min(width, columns - first)));
        const std::size_t index = p.at(row, g);
        const bool good = clip == ClipSearch::none
                              ? fit_range(range_of(group), p, index, {})
                              : fit_least_squared_error(group, p, index, candidates, trial);
        if (!good) held = false;
      }
    }
  });
  return held;
}

}  // namespace

bool fit_group(std::span<const float> weights, GridParameters& parameters, std::size_t index, float shrink) {
  return fit_range(range_of(weights), parameters, index, {shrink, shrink});
}

bool fit_group_clipped(std::span<const float> weights, GridParameters& parameters, std::size_t index,
                       const ClipCandidates& candidates) {
  Trial trial;
  return fit_least_squared_error(weights, parameters, index, shrinks(candidates), trial);
}

GridParameters fit_grid(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                        ClipSearch clip, bool force_f32, const ClipCandidates& candidates, const double* h) {
  require(clip != ClipSearch::h_loss || h != nullptr, "a search by H-loss has H");
  const std::vector<Shrink> list = shrinks(candidates);
  if (!force_f32) {
    GridParameters parameters(form, rows, columns, DType::f16);
    if (fit_all(weights, parameters, clip, list, h)) return parameters;
  }
  GridParameters parameters(form, rows, columns, DType::f32);
  fit_all(weights, parameters, clip, list, h);
  return parameters;
}

}  // namespace laconic
