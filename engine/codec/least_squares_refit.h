// The real step of decoupleQ (Guo et al. 2024, section 3.3): codes are fixed, steps and offsets are free.
// Usable as the last step of any solver; it never raises the loss of a row.
//
// Per row with codes q (centred), groups a = 1..G and w_hat = step_a q + offset_a inside group a, the minimum
// of (w_hat - w) H (w_hat - w)^T solves P theta = y with
//   P11[a,c] = q_a^T H_ac q_c   P12[a,c] = q_a^T H_ac 1   P22[a,c] = 1^T H_ac 1
//   y_step[a] = (w H)_a . q_a   y_offset[a] = sum of (w H)_a
// in float64. It is solved for the change from the present parameters, which is the same minimum, loses fewer
// digits, and leaves parameters alone where the codes do not determine them (there the card's ridge of 1 % of
// the mean diagonal acts). Kinds without a free offset fit their steps only.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/codec/uniform_payload.h"

namespace laconic {

// (w - w_hat) H (w - w_hat)^T of every row, H [columns, columns].
std::vector<double> grid_losses(const float* weights, const UniformMatrix& matrix, const double* h);

// The minimum itself, before any rounding: [rows, groups] each.
struct GridSolution {
  std::vector<double> step, offset;
};
GridSolution least_squares_grid(const float* weights, const UniformMatrix& matrix, const double* h);

// One group, closed form: the solution of [[p11, p12], [p12, p22]] (step, offset) = (y1, y2). False when the
// two directions cannot be told apart (determinant under 1e-10 of p11 * p22; the reference clamps it at an
// absolute 1e-5, which depends on the units of the input).
bool closed_form_grid(double p11, double p12, double p22, double y1, double y2, double& step, double& offset);

// Moves every row to its least-squares parameters, rounded to their stored dtype, if its loss drops with the
// rounded values. Returns which rows moved. `losses`, if given, holds the loss of every row before the call
// and after it.
std::vector<bool> refit_grid(const float* weights, UniformMatrix& matrix, const double* h,
                             std::vector<double>* losses = nullptr);

}  // namespace laconic
