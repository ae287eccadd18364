// What a change of a linear layer's weights costs at its output: with H = mean of x x^T over calibration
// tokens (convention C4), the mean squared change of y = W x summed over outputs is
//
//   tr(D H D^T),   D = W_hat - W [rows, columns],   H [columns, columns] symmetric, float64
#pragma once

#include <cstdint>

namespace laconic {

// Products in f32 over fixed tiles, sums in float64: the same bits at any thread count. `h` null: H = I, the
// plain sum of squares.
double layer_loss(const float* difference, std::int64_t rows, std::int64_t columns, const double* h);

}  // namespace laconic
