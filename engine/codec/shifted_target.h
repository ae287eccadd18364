// What a linear layer should become when what it reads has already changed: the layers before it are
// compressed, and its input is x^ where the dense model has x; the residual stream that its output joins is
// h^ where the dense model has h. With H = E[x^ x^^T], D = E[(x - x^) x^^T] and R = E[(h - h^) x^^T],
//
//   min over W'  E || W' x^ + h^ - (W x + h) ||^2 + lambda || W' - W ||^2
//   W' = W + share * (W D + R) (H + lambda I)^-1          (share 1 is the minimum)
//
// Rounding W' against H is rounding against that objective: up to lambda they differ by a constant. R = 0
// leaves the stream's own deviation alone. The whole way fits a short calibration text too closely; half of
// it generalises better. Source: card 50, beyond the paper (targets of the dense model's outputs).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/math/linear_algebra.h"

namespace laconic {

// The factor of one H, for all layers that read it.
class ShiftedTarget {
 public:
  // h [columns, columns]; lambda = damping times its mean diagonal, raised as inverse_factor does. `name` is
  // used in errors.
  ShiftedTarget(const double* h, std::int64_t columns, double damping, const char* name);
  // W' [rows, columns], f32. input_deviation D [columns, columns]; output_deviation R [rows, columns] or
  // null. Columns of dead inputs stay as they are. Memory: two tiles of rows per thread beside W'.
  std::vector<float> weights(const float* weights, std::int64_t rows, const double* input_deviation,
                             const double* output_deviation, double share) const;

 private:
  std::int64_t columns_;
  InverseFactor factor_;  // (H + lambda I)^-1 = U^T U
};

}  // namespace laconic
