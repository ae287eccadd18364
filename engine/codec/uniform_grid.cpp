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
  // Bounded before the conversion: a far outlier must not overflow an int. What is not a number, where a step
  // that overflowed its dtype is tried, becomes the highest code.
  return static_cast<int>(std::max(low, std::min(high, round_value(exact, rounding, u)))) + middle;
}

std::vector<std::uint8_t> quantize(const float* weights, const GridParameters& parameters, Rounding rounding,
                                   const RandomStream* random) {
  require(rounding != Rounding::stochastic || random != nullptr, "stochastic rounding has a random stream");
  const std::int64_t columns = parameters.columns, width = parameters.form.group_columns(columns);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(parameters.rows * columns));
  parallel_tiles(parameters.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t g = 0; g < parameters.groups; ++g) {
        const std::size_t index = parameters.at(row, g);
        const std::int64_t first = row * columns + g * width;
        const std::int64_t count = std::min(width, columns - g * width);
        if (rounding != Rounding::stochastic) {
          quantize_group({weights + first, static_cast<std::size_t>(count)}, parameters, index, rounding,
                         codes.data() + first);
          continue;
        }
        for (std::int64_t i = first; i < first + count; ++i) {
          codes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(parameters.nearest_code(
              index, weights[i], rounding, random->uniform_at(static_cast<std::uint64_t>(i))));
        }
      }
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
