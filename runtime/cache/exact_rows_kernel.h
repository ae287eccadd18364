// Products with rows that are stored as f32, f16 or bf16, for a few queries at a time. Requires finite rows,
// [row_count, width], at any alignment. Sums run in f32; the vector forms differ from the scalar ones by
// rounding only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace laconic {

// scores[i * stride + r] = queries[i] . row r, for queries [count, width].
void dot_exact_rows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                    const float* queries, std::int64_t count, float* scores, std::int64_t stride);
void dot_exact_rows_scalar(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                           const float* queries, std::int64_t count, float* scores, std::int64_t stride);

// sums[i] += sum over r of weights[i * stride + r] row r, for sums [count, width].
void mix_exact_rows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                    const float* weights, std::int64_t stride, std::int64_t count, float* sums);
void mix_exact_rows_scalar(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                           const float* weights, std::int64_t stride, std::int64_t count, float* sums);

}  // namespace laconic
