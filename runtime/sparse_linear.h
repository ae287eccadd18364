// y = W x from the positions and values of a sparse or outliers payload. Values keep their stored type.
// Positions are held per row as 16- or 32-bit column numbers, or, where more than one entry in 16 is set, as
// one bit per entry, whichever takes fewer bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "runtime/linear_op.h"

namespace laconic {

// Requires a payload of a matrix. Throws Error(corrupt) on one that neither codec writes.
std::shared_ptr<LinearOp> make_sparse_linear(const Payload& payload);

// sum_i values[i] x[columns[i]] in f32; the vector form differs from the reference by rounding.
float gather_dot(std::span<const float> values, const std::int32_t* columns, const float* x);
float gather_dot_scalar(std::span<const float> values, const std::int32_t* columns, const float* x);

}  // namespace laconic
