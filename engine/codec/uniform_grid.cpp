#include "engine/codec/uniform_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::array<std::string_view, 5> kind_names = {"affine_min", "affine_zero", "affine_free",
                                                        "symmetric", "symmetric_full"};

struct Range {
  float low = 0, high = 0;
};

Range range_of(std::span<const float> weights) {
  Range range{weights[0], weights[0]};
  for (const float w : weights) {
    range.low = std::min(range.low, w);
    range.high = std::max(range.high, w);
  }
  return range;
}

// Does f16 hold the parameters of this group well enough?
bool half_is_enough(float step, float offset) {
  const float stored_step = rounded_to(DType::f16, step), stored_offset = rounded_to(DType::f16, offset);
  if (!std::isfinite(stored_step) || !std::isfinite(stored_offset)) return false;
  const float scale = std::max(std::abs(step), std::abs(offset));
  return std::abs(stored_step - step) <= 0x1p-10f * std::abs(step) &&
         std::abs(stored_offset - offset) <= 0x1p-10f * scale;
}

}  // namespace

std::string_view name_of(GridKind kind) { return kind_names[static_cast<std::size_t>(kind)]; }

GridKind grid_kind_named(std::string_view name) {
  for (std::size_t i = 0; i < kind_names.size(); ++i) {
    if (kind_names[i] == name) return static_cast<GridKind>(i);
  }
  fail(ErrorKind::usage, "unknown grid kind \"" + std::string(name) + "\"");
}

float round_value(float value, Rounding rounding, float u) {
  switch (rounding) {
    case Rounding::nearest_even:
      return std::nearbyint(value);
    case Rounding::half_up:
      return std::floor(value + 0.5f);
    case Rounding::stochastic:
      return std::floor(value + u);
    case Rounding::truncate:
      return std::trunc(value);
  }
  return value;
}

std::int64_t GridForm::group_columns(std::int64_t columns) const {
  return group <= 0 ? std::max<std::int64_t>(columns, 1) : group;
}

std::int64_t GridForm::groups(std::int64_t columns) const {
  const std::int64_t width = group_columns(columns);
  return (columns + width - 1) / width;
}

int GridForm::centre() const {
  return kind == GridKind::affine_min || kind == GridKind::affine_zero ? 0 : 1 << (bits - 1);
}

GridParameters::GridParameters(GridForm grid, std::int64_t row_count, std::int64_t column_count, DType stored)
    : form(grid), rows(row_count), columns(column_count), groups(grid.groups(column_count)), dtype(stored) {
  require(form.bits >= (form.kind == GridKind::symmetric ? 2 : 1) && form.bits <= 8, "grid width is legal");
  const auto count = static_cast<std::size_t>(rows * groups);
  step.assign(count, 0);
  offset.assign(count, 0);
  centre.assign(count, static_cast<std::uint8_t>(form.centre()));
}

int GridParameters::nearest_code(std::size_t index, float weight, Rounding rounding, float u) const {
  const int middle = centre[index];
  if (step[index] == 0) return middle;
  const float exact = (weight - offset[index]) / step[index];
  const float low = static_cast<float>(form.lowest_code() - middle);
  const float high = static_cast<float>(form.highest_code() - middle);
  // Clamped before the conversion: a far outlier must not overflow an int.
  return static_cast<int>(std::clamp(round_value(exact, rounding, u), low, high)) + middle;
}

void fit_group(std::span<const float> weights, GridParameters& parameters, std::size_t index, float shrink) {
  const GridForm& form = parameters.form;
  const DType dtype = parameters.dtype;
  Range range = range_of(weights);
  const float levels = static_cast<float>(form.highest_code());
  float& step = parameters.step[index];
  float& offset = parameters.offset[index];
  switch (form.kind) {
    case GridKind::affine_min:
    case GridKind::affine_free: {
      if (range.low == range.high) {
        step = 0;
        offset = rounded_to(dtype, range.low);
        return;
      }
      range = {range.low * shrink, range.high * shrink};
      // Halves first: the difference of two huge numbers overflows, the difference of their halves does not.
      step = rounded_to(dtype, (range.high / 2 - range.low / 2) / levels * 2);
      const float centre_code = static_cast<float>(form.centre());
      offset = rounded_to(dtype, range.low + step * centre_code);
      return;
    }
    case GridKind::affine_zero: {
      range = {std::min(range.low, 0.0f) * shrink, std::max(range.high, 0.0f) * shrink};
      step = rounded_to(dtype, (range.high / 2 - range.low / 2) / levels * 2);
      const float zero = step == 0 ? 0 : std::nearbyint(-range.low / step);
      parameters.centre[index] = static_cast<std::uint8_t>(std::clamp(zero, 0.0f, levels));
      return;
    }
    case GridKind::symmetric: {
      const float largest = std::max(std::abs(range.low), std::abs(range.high)) * shrink;
      step = rounded_to(dtype, largest / static_cast<float>((1 << (form.bits - 1)) - 1));
      return;
    }
    case GridKind::symmetric_full: {
      const float extreme = (-range.low >= range.high ? range.low : range.high) * shrink;
      step = rounded_to(dtype, extreme / -static_cast<float>(1 << (form.bits - 1)));
      return;
    }
  }
}

GridParameters fit_grid(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                        ClipSearch clip, bool force_f32) {
  GridParameters parameters(form, rows, columns, DType::f32);
  const std::int64_t width = form.group_columns(columns);
  const auto fit_all = [&] {
    parallel_tiles(rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t g = 0; g < parameters.groups; ++g) {
          const std::int64_t first = g * width, count = std::min(width, columns - first);
          const std::span<const float> group(weights + row * columns + first,
                                             static_cast<std::size_t>(count));
          const std::size_t index = parameters.at(row, g);
          fit_group(group, parameters, index);
          if (clip == ClipSearch::none) continue;
          double best = HUGE_VAL;
          float best_shrink = 1;
          for (int i = 0; i <= 30; ++i) {  // 1.00 down to 0.40 in steps of 0.02
            const float shrink = 1.0f - 0.02f * static_cast<float>(i);
            fit_group(group, parameters, index, shrink);
            double loss = 0;
            for (const float w : group) {
              const double e = w - parameters.value(index, parameters.nearest_code(index, w));
              loss += e * e;
            }
            if (loss < best) {
              best = loss;
              best_shrink = shrink;
            }
          }
          fit_group(group, parameters, index, best_shrink);
        }
      }
    });
  };
  fit_all();
  bool half = !force_f32;
  for (std::size_t i = 0; half && i < parameters.step.size(); ++i) {
    half = half_is_enough(parameters.step[i], parameters.offset[i]);
  }
  if (half) {
    parameters.dtype = DType::f16;
    fit_all();
  }
  return parameters;
}

std::vector<std::uint8_t> quantize(const float* weights, const GridParameters& parameters, Rounding rounding,
                                   const RandomStream* random) {
  const std::int64_t columns = parameters.columns, width = parameters.form.group_columns(columns);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(parameters.rows * columns));
  parallel_tiles(parameters.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * columns; i < end * columns; ++i) {
      const std::size_t index = parameters.at(i / columns, i % columns / width);
      const float u = random == nullptr ? 0.0f : random->uniform_at(static_cast<std::uint64_t>(i));
      codes[static_cast<std::size_t>(i)] =
          static_cast<std::uint8_t>(parameters.nearest_code(index, weights[i], rounding, u));
    }
  });
  return codes;
}

std::vector<float> dequantize(const std::vector<std::uint8_t>& codes, const GridParameters& parameters) {
  std::vector<float> weights(codes.size());
  parallel_tiles(parameters.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      dequantize_row(codes.data() + row * parameters.columns, parameters, row,
                     weights.data() + row * parameters.columns);
    }
  });
  return weights;
}

std::vector<double> row_losses(const float* a, const float* b, std::int64_t rows, std::int64_t columns,
                               const double* h) {
  std::vector<double> losses(static_cast<std::size_t>(rows));
  parallel_tiles(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    std::vector<double> difference(static_cast<std::size_t>(count * columns)), product(difference.size());
    for (std::int64_t i = 0; i < count * columns; ++i) {
      difference[static_cast<std::size_t>(i)] =
          static_cast<double>(a[begin * columns + i]) - static_cast<double>(b[begin * columns + i]);
    }
    gemm(Transpose::no, Transpose::no, count, columns, columns, 1.0, difference.data(), columns, h, columns,
         0.0, product.data(), columns);
    for (std::int64_t row = 0; row < count; ++row) {
      double sum = 0;
      for (std::int64_t j = 0; j < columns; ++j) {
        const auto at = static_cast<std::size_t>(row * columns + j);
        sum += difference[at] * product[at];
      }
      losses[static_cast<std::size_t>(begin + row)] = sum;
    }
  });
  return losses;
}

}  // namespace laconic
