// Dot products of stored weight rows with a few activations: the kernel of token-by-token decoding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace laconic {

// y[r * y_stride + o] = sum_i W[o, i] x[r * in + i] for o in [0, out), r in [0, rows).
// Requires: W [out, in] of dtype f32, f16 or bf16, aligned to its element.
// The products of 32 interleaved chains are added in order, then the chains in pairs; nothing is fused, so
// every vector width gives the same bits.
void dense_dot_rows(DType dtype, const std::byte* weight, std::int64_t out, std::int64_t in, const float* x,
                    std::int64_t rows, float* y, std::int64_t y_stride);
void dense_dot_rows_scalar(DType dtype, const std::byte* weight, std::int64_t out, std::int64_t in,
                           const float* x, std::int64_t rows, float* y, std::int64_t y_stride);

}  // namespace laconic
