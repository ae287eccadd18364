// Decoding of factor products, the same bits on every machine: each element of A B is the sum over r in
// ascending order of a_ir * b_rj in f32, never fused, never reordered.
#pragma once

#include <cstdint>

namespace laconic {

// sum[i, j] += s_ij * (A B)_ij for A [rows, rank], B [rank, columns] and sum [rows, columns]. `signs` holds
// one bit per element, row-major without row padding, least significant first: 1 is +1, 0 is -1; null is all
// +1. Requires ceil(rows * columns / 8) bytes of signs. Parallel over tiles of rows.
void add_low_rank(const float* a, const float* b, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                  const std::uint8_t* signs, float* sum);
// Scalar reference.
void add_low_rank_scalar(const float* a, const float* b, std::int64_t rows, std::int64_t columns,
                         std::int64_t rank, const std::uint8_t* signs, float* sum);

}  // namespace laconic
