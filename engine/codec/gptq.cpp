#include "engine/codec/gptq.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/pages.h"
#include "engine/base/threads.h"
#include "engine/codec/row_tile.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

constexpr std::int64_t lazy_block = 128;  // errors of so many columns are applied to the rest in one product

// Rows of one tile in processing order; dead columns are zero.
std::vector<float> permuted(const float* weights, std::int64_t begin, std::int64_t end,
                            const GptqFactor& factor) {
  const std::int64_t n = factor.columns;
  std::vector<float> tile(static_cast<std::size_t>((end - begin) * n));
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t column = factor.order[static_cast<std::size_t>(j)];
      tile[static_cast<std::size_t>((row - begin) * n + j)] =
          factor.dead[static_cast<std::size_t>(column)] ? 0.0f : weights[row * n + column];
    }
  }
  return tile;
}

// As f32. The float64 values leave memory piece by piece, so that the two forms are never there together.
std::vector<float> narrowed(std::vector<double>& values) {
  constexpr std::size_t piece = 1 << 20;
  std::vector<float> result;
  result.reserve(values.size());
  for (std::size_t begin = 0; begin < values.size(); begin += piece) {
    const std::size_t count = std::min(piece, values.size() - begin);
    for (std::size_t i = begin; i < begin + count; ++i) result.push_back(static_cast<float>(values[i]));
    discard_pages(values.data() + begin, count * sizeof(double));
  }
  values.clear();
  return result;
}

// Sweeps the columns of a tile. decide(row_in_tile, position, current row) returns the value that column
// keeps.
template <class Decide>
void sweep(std::vector<float>& tile, std::int64_t rows, const GptqFactor& factor, Decide decide) {
  const std::int64_t n = factor.columns;
  const float* upper = factor.upper.data();
  std::vector<float> errors(static_cast<std::size_t>(rows * lazy_block));
  for (std::int64_t first = 0; first < n; first += lazy_block) {
    const std::int64_t last = std::min(n, first + lazy_block), width = last - first;
    for (std::int64_t row = 0; row < rows; ++row) {
      float* w = tile.data() + row * n;
      for (std::int64_t j = first; j < last; ++j) {
        const float kept = decide(row, j, w);
        const float error = (w[j] - kept) / upper[j * n + j];
        errors[static_cast<std::size_t>(row * width + j - first)] = error;
        w[j] = kept;
        if (error == 0) continue;
        for (std::int64_t k = j + 1; k < last; ++k) w[k] -= error * upper[j * n + k];
      }
    }
    gemm(Transpose::no, Transpose::no, rows, n - last, width, -1.0f, errors.data(), width,
         upper + first * n + last, n, 1.0f, tile.data() + last, n);
  }
}

}  // namespace

GptqFactor gptq_factor(const double* h, std::int64_t columns, ColumnOrder order, double damping,
                       const char* name, std::int64_t group) {
  GptqFactor factor;
  factor.columns = columns;
  const auto n = static_cast<std::size_t>(columns);
  factor.order.resize(n);
  factor.dead.resize(n);
  std::iota(factor.order.begin(), factor.order.end(), 0);
  for (std::size_t j = 0; j < n; ++j) factor.dead[j] = h[j * n + j] == 0;
  if (order == ColumnOrder::descending) {
    std::stable_sort(factor.order.begin(), factor.order.end(), [&](std::int64_t a, std::int64_t b) {
      return h[static_cast<std::size_t>(a) * n + static_cast<std::size_t>(a)] >
             h[static_cast<std::size_t>(b) * n + static_cast<std::size_t>(b)];
    });
  }
  if (order == ColumnOrder::groups_descending) {
    const std::int64_t width = group <= 0 ? std::max<std::int64_t>(columns, 1) : group;
    std::vector<double> sums(static_cast<std::size_t>((columns + width - 1) / width), 0.0);
    for (std::size_t j = 0; j < n; ++j) sums[j / static_cast<std::size_t>(width)] += h[j * n + j];
    std::stable_sort(factor.order.begin(), factor.order.end(), [&](std::int64_t a, std::int64_t b) {
      return sums[static_cast<std::size_t>(a / width)] > sums[static_cast<std::size_t>(b / width)] ||
             (sums[static_cast<std::size_t>(a / width)] == sums[static_cast<std::size_t>(b / width)] &&
              a / width < b / width);
    });
  }
  // One float64 matrix at a time: it is filled again for each attempt and narrowed to f32 when it is
  // factored.
  std::vector<double> ordered(n * n);
  for (int attempt = 0; attempt <= 3; ++attempt, damping *= 10) {
    parallel_tiles(columns, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const double* from = h + factor.order[static_cast<std::size_t>(i)] * columns;
        double* to = ordered.data() + i * columns;
        for (std::size_t j = 0; j < n; ++j) to[j] = from[factor.order[j]];
      }
    });
    const double mean = repair_dead_inputs(ordered.data(), columns);
    for (std::size_t j = 0; j < n; ++j) ordered[j * n + j] += damping * mean;
    if (!inverse_cholesky_upper(ordered.data(), columns)) continue;
    factor.damping = damping;
    factor.upper = narrowed(ordered);
    return factor;
  }
  refuse_moment(name);
}

namespace {

// Columns of a group follow one another in processing order.
bool keeps_groups_together(const GptqFactor& factor, std::int64_t width) {
  for (std::size_t j = 1; j < factor.order.size(); ++j) {
    const std::int64_t before = factor.order[j - 1], now = factor.order[j];
    if (now % width == 0 ? before % width != width - 1 && before + 1 != factor.columns : now != before + 1) {
      return false;
    }
  }
  return true;
}

// A group is fitted on weights that already carry the errors of all columns before it. Inside a lazy block
// only the columns of that block do, so lazy blocks end where a group ends. False when the dtype of the
// parameters lost too much somewhere.
bool sweep_fitting_groups(const float* weights, const GptqFactor& factor, const GptqOptions& options,
                          UniformMatrix& result) {
  GridParameters& parameters = result.parameters;
  const std::int64_t n = parameters.columns, width = parameters.form.group_columns(n);
  const float* upper = factor.upper.data();
  std::atomic<bool> held = true;
  parallel_tiles(parameters.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> tile = permuted(weights, begin, end, factor), errors;
    const std::int64_t count = end - begin;
    for (std::int64_t first = 0, last; first < n; first = last) {
      const std::int64_t column = factor.order[static_cast<std::size_t>(first)], g = column / width;
      last = first + std::min(width, n - g * width);
      for (std::int64_t row = 0; row < count; ++row) {
        const std::span<const float> group(tile.data() + row * n + first,
                                           static_cast<std::size_t>(last - first));
        const std::size_t index = parameters.at(begin + row, g);
        const bool good = options.clip == ClipSearch::none
                              ? fit_group(group, parameters, index)
                              : fit_group_clipped(group, parameters, index, options.candidates);
        if (!good) held = false;
      }
      for (std::int64_t block = first; block < last; block += lazy_block) {
        const std::int64_t stop = std::min(last, block + lazy_block), span = stop - block;
        errors.assign(static_cast<std::size_t>(count * span), 0.0f);
        for (std::int64_t row = 0; row < count; ++row) {
          float* w = tile.data() + row * n;
          const std::size_t index = parameters.at(begin + row, g);
          std::uint8_t* codes = result.codes.data() + (begin + row) * n + g * width - first;
          for (std::int64_t j = block; j < stop; ++j) {
            const int code = parameters.nearest_code(index, w[j], options.rounding);
            codes[j] = static_cast<std::uint8_t>(code);
            const float error = (w[j] - parameters.value(index, code)) / upper[j * n + j];
            errors[static_cast<std::size_t>(row * span + j - block)] = error;
            for (std::int64_t k = j + 1; k < stop; ++k) w[k] -= error * upper[j * n + k];
          }
        }
        gemm(Transpose::no, Transpose::no, count, n - stop, span, -1.0f, errors.data(), span,
             upper + block * n + stop, n, 1.0f, tile.data() + stop, n);
      }
    }
  });
  return held;
}

}  // namespace

UniformMatrix gptq_quantize(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                            const GptqFactor& factor, const GptqOptions& options) {
  require(factor.columns == columns, "factor fits the weights");
  require(options.rounding != Rounding::stochastic, "a GPTQ sweep rounds deterministically");
  UniformMatrix result;
  const std::int64_t width = form.group_columns(columns);
  if (options.grids_before_sweep || options.clip == ClipSearch::h_loss ||
      !keeps_groups_together(factor, width)) {
    // Dead columns become zero before the fit, so they do not widen any range.
    std::vector<float> alive;
    if (std::find(factor.dead.begin(), factor.dead.end(), true) != factor.dead.end()) {
      alive.assign(weights, weights + rows * columns);
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        if (factor.dead[static_cast<std::size_t>(i % columns)]) alive[static_cast<std::size_t>(i)] = 0;
      }
    }
    result.parameters = fit_grid(alive.empty() ? weights : alive.data(), rows, columns, form, options.clip,
                                 options.force_f32, options.candidates, options.h);
    result.codes = gptq_codes(weights, result.parameters, factor, options.rounding);
    return result;
  }
  result.codes.resize(static_cast<std::size_t>(rows * columns));
  if (!options.force_f32) {
    result.parameters = GridParameters(form, rows, columns, DType::f16);
    if (sweep_fitting_groups(weights, factor, options, result)) return result;
  }
  result.parameters = GridParameters(form, rows, columns, DType::f32);
  sweep_fitting_groups(weights, factor, options, result);
  return result;
}

std::vector<std::uint8_t> gptq_codes(const float* weights, const GridParameters& parameters,
                                     const GptqFactor& factor, Rounding rounding) {
  const std::int64_t n = parameters.columns, width = parameters.form.group_columns(n);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(parameters.rows * n));
  parallel_tiles(parameters.rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> tile = permuted(weights, begin, end, factor);
    sweep(tile, end - begin, factor, [&](std::int64_t row, std::int64_t j, const float* w) {
      const std::int64_t column = factor.order[static_cast<std::size_t>(j)];
      const std::size_t index = parameters.at(begin + row, column / width);
      const int code = parameters.nearest_code(index, w[j], rounding);
      codes[static_cast<std::size_t>((begin + row) * n + column)] = static_cast<std::uint8_t>(code);
      return parameters.value(index, code);
    });
  });
  return codes;
}

std::vector<float> gptq_prune(const float* weights, std::int64_t rows, std::int64_t columns,
                              std::int64_t zeros, const GptqFactor& factor, std::int64_t block) {
  require(factor.columns == columns && 0 <= zeros && zeros <= rows * columns, "prune count fits the matrix");
  const std::int64_t n = columns, width = block <= 0 ? n : block;
  std::vector<float> w = permuted(weights, 0, rows, factor);
  const float* upper = factor.upper.data();
  std::vector<bool> cut(static_cast<std::size_t>(rows * n));
  std::int64_t cut_so_far = 0;
  for (std::int64_t first = 0; first < n; first += width) {
    const std::int64_t last = std::min(n, first + width), span = last - first;
    // The share of this block, such that shares sum exactly to `zeros`.
    const auto goal = static_cast<std::int64_t>(
        std::nearbyint(static_cast<double>(zeros) * static_cast<double>(last) / static_cast<double>(n)));
    // The k lowest scores are cut: selecting the largest of the negated rank needs only magnitudes, so the
    // score is inverted; zero scores come first of all.
    std::vector<float> score(static_cast<std::size_t>(rows * span));
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t j = first; j < last; ++j) {
        const float value = w[static_cast<std::size_t>(row * n + j)] / upper[j * n + j];
        score[static_cast<std::size_t>(row * span + j - first)] = value * value;
      }
    }
    const std::int64_t keep = rows * span - (goal - cut_so_far);
    const std::vector<std::int64_t> kept = top_k(score, keep);
    std::vector<bool> keeps(score.size());
    for (const std::int64_t index : kept) keeps[static_cast<std::size_t>(index)] = true;
    for (std::size_t i = 0; i < keeps.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / span, j = static_cast<std::int64_t>(i) % span;
      cut[static_cast<std::size_t>(row * n + first + j)] = !keeps[i];
    }
    cut_so_far = goal;
    // Compensation of this block's columns, and of the columns after it.
    parallel_tiles(rows, row_tile, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> errors;
      for (std::int64_t part = first; part < last; part += lazy_block) {
        const std::int64_t stop = std::min(last, part + lazy_block), length = stop - part;
        errors.assign(static_cast<std::size_t>((end - begin) * length), 0.0f);
        for (std::int64_t row = begin; row < end; ++row) {
          float* values = w.data() + row * n;
          for (std::int64_t j = part; j < stop; ++j) {
            if (!cut[static_cast<std::size_t>(row * n + j)]) continue;
            const float error = values[j] / upper[j * n + j];
            errors[static_cast<std::size_t>((row - begin) * length + j - part)] = error;
            values[j] = 0;
            for (std::int64_t k = j + 1; k < stop; ++k) values[k] -= error * upper[j * n + k];
          }
        }
        gemm(Transpose::no, Transpose::no, end - begin, n - stop, length, -1.0f, errors.data(), length,
             upper + part * n + stop, n, 1.0f, w.data() + begin * n + stop, n);
      }
    });
  }
  std::vector<float> result(w.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(row * n + j);
      // A kept weight that compensation moved to exactly zero would be counted as pruned: it cannot be told
      // apart.
      result[static_cast<std::size_t>(row * n + factor.order[static_cast<std::size_t>(j)])] =
          cut[at] ? 0.0f : w[at];
    }
  }
  return result;
}

}  // namespace laconic
