// Uniform grids over groups of a row-major matrix [rows, columns] (convention C2). Groups run along a row; a
// short last group has parameters of its own.
//
//   w_hat = step * (code - centre) + offset,   code in 0 .. 2^bits - 1
//
//   kind            centre          offset      fitted from
//   affine_min      0               minimum     step = (max - min) / (2^bits - 1)
//   affine_zero     integer zero    0           range widened to contain 0; zero = round(-min / step)
//   affine_free     2^(bits-1)      free        like affine_min, then any solver may move step and offset
//   symmetric       2^(bits-1)      0           step = absmax / (2^(bits-1) - 1), codes 1 .. 2^bits - 1
//   symmetric_full  2^(bits-1)      0           step = (entry of largest magnitude) / -2^(bits-1)
//
// Parameters are rounded to their stored dtype first; codes are computed with the rounded values. A group of
// equal values is stored exactly (to the parameter's dtype).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/random.h"
#include "engine/tensor/dtype.h"

namespace laconic {

enum class GridKind { affine_min, affine_zero, affine_free, symmetric, symmetric_full };
enum class Rounding { nearest_even, half_up, stochastic, truncate };

std::string_view name_of(GridKind kind);
GridKind grid_kind_named(std::string_view name);  // Error(usage)

// nearest_even and half_up as named; truncate toward zero; stochastic is floor(x + u), u in [0, 1).
float round_value(float value, Rounding rounding, float u = 0);

struct GridForm {
  GridKind kind = GridKind::affine_min;
  int bits = 4;            // 1..8; symmetric needs 2
  std::int64_t group = 0;  // columns per group; 0: the whole row

  std::int64_t groups(std::int64_t columns) const;
  std::int64_t group_columns(std::int64_t columns) const;  // group, or the whole row
  int centre() const;                                      // of kinds whose centre is fixed
  int lowest_code() const { return kind == GridKind::symmetric ? 1 : 0; }
  int highest_code() const { return (1 << bits) - 1; }
};

// Parameters of every group, already rounded to `dtype`.
struct GridParameters {
  GridForm form;
  std::int64_t rows = 0, columns = 0, groups = 0;
  DType dtype = DType::f16;          // f16, or f32 where f16 would lose more than 2^-10
  std::vector<float> step, offset;   // [rows, groups]; offset is 0 for kinds without one
  std::vector<std::uint8_t> centre;  // [rows, groups]

  GridParameters() = default;
  GridParameters(GridForm form, std::int64_t rows, std::int64_t columns, DType dtype);
  std::size_t at(std::int64_t row, std::int64_t group) const {
    return static_cast<std::size_t>(row * groups + group);
  }
  float value(std::size_t index, int code) const {
    return step[index] * static_cast<float>(code - centre[index]) + offset[index];
  }
  int nearest_code(std::size_t index, float weight, Rounding rounding = Rounding::nearest_even,
                   float u = 0) const;
};

// How the range of a group is clipped: not at all, or by the candidate that loses least, where the loss of a
// group is its squared error, or its error weighted by the diagonal block of H that belongs to it.
enum class ClipSearch { none, weight_mse, h_loss };

// Factors that are tried on the ends of the range: 1, 1 - step, ... down to `smallest`; with `separate` every
// pair of factors (minimum, maximum).
struct ClipCandidates {
  float smallest = 0.40f, step = 0.02f;
  bool separate = false;
};

// Range-based parameters of one group, rounded to parameters.dtype; the factors multiply minimum and maximum.
// A group of equal values gets step 0 or a step that is the value over a power of two, and decodes to the
// value as the dtype stores it. Ranges wider than the largest f32 are halved. Returns false when the dtype
// lost more than 2^-10 of the step (or of the offset, measured against the larger of step and offset).
bool fit_group(std::span<const float> weights, GridParameters& parameters, std::size_t index,
               float shrink = 1);
// The same with the candidate of least squared error.
bool fit_group_clipped(std::span<const float> weights, GridParameters& parameters, std::size_t index,
                       const ClipCandidates& candidates = {});

// Fits every group. The dtype is f16 unless that would lose too much for some group (see fit_group);
// `force_f32` asks for f32. h [columns, columns] is used by ClipSearch::h_loss only.
GridParameters fit_grid(const float* weights, std::int64_t rows, std::int64_t columns, GridForm form,
                        ClipSearch clip = ClipSearch::none, bool force_f32 = false,
                        const ClipCandidates& candidates = {}, const double* h = nullptr);

// Codes of one group, by vectors; equal to nearest_code on every element. Not for stochastic rounding.
void quantize_group(std::span<const float> weights, const GridParameters& parameters, std::size_t index,
                    Rounding rounding, std::uint8_t* codes);
void dequantize_group(std::span<const std::uint8_t> codes, const GridParameters& parameters,
                      std::size_t index, float* weights);

// Codes [rows, columns]. Stochastic rounding needs `random`: element i takes draw i.
std::vector<std::uint8_t> quantize(const float* weights, const GridParameters& parameters,
                                   Rounding rounding = Rounding::nearest_even,
                                   const RandomStream* random = nullptr);
void dequantize_row(const std::uint8_t* codes, const GridParameters& parameters, std::int64_t row,
                    float* weights);
std::vector<float> dequantize(const std::vector<std::uint8_t>& codes, const GridParameters& parameters);

// (a - b) H (a - b)^T of every row, H [columns, columns] in float64.
std::vector<double> row_losses(const float* a, const float* b, std::int64_t rows, std::int64_t columns,
                               const double* h);

}  // namespace laconic
