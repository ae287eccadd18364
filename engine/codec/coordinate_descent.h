// Codes improved one at a time on fixed grids: a polish after any solver.
//
// With r = w - w_hat and g = r H, replacing the value of column j by v changes the row's loss by
//   -2 d g_j + d^2 H_jj,   d = v - w_hat_j
// so the best level is the one nearest to w_hat_j + g_j / H_jj. Columns are visited from left to right; a
// move is made only if it lowers the loss, so the loss of a row never rises.
#pragma once

#include <cstdint>

#include "engine/codec/uniform_payload.h"

namespace laconic {

// At most `sweeps` passes over the columns of every row, fewer where nothing moves any more. Returns the
// number of codes that changed (a code that moves in two passes counts twice).
std::int64_t coordinate_descent(const float* weights, UniformMatrix& matrix, const double* h, int sweeps);

}  // namespace laconic
