// Numbers stored in fewer bits, under one rule (conventions C2 and C10): rounding is to even, and where the
// wished 16-bit type would overflow or lose more than its own precision, relative to the l2 norm, the values
// are stored as f32 instead; the dtype of the field says so.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "engine/codec/codec.h"

namespace laconic {

// `wish` is f32, f16 or bf16. Bound on the l2 error relative to the l2 norm: 2^-10 (f16), 2^-8 (bf16), 0.
double stored_precision(DType wish);
Tensor store_values(std::span<const float> values, Shape shape, DType wish);

// A field of f32, f16 or bf16 with this many elements, as f32. Error(corrupt) otherwise or if not finite.
std::vector<float> load_values(const Payload& payload, std::string_view field, std::int64_t elements);

// Factors A [rows, rank] and B [rank, columns] of a product, stored alike. When f16 would overflow or lose
// more than 2^-10 of a column of A or a row of B, each pair is first rebalanced by a power of two, which
// leaves the product as it is; if that is not enough both are stored as f32. The vectors are changed to
// what a reader gets.
struct StoredFactors {
  Tensor a, b;
};
StoredFactors store_factors(std::vector<float>& a, std::vector<float>& b, std::int64_t rows,
                            std::int64_t columns, std::int64_t rank, DType wish);

// Declared contraction delta of a rank-`rank` truncation with factors stored as `wish`: the tail of the
// singular values holds at most 1 - rank/min(rows, columns) of the energy. None where that cannot be promised
// (a randomised decomposition, or rounding that may eat the gain).
std::optional<double> truncation_delta(std::int64_t rows, std::int64_t columns, std::int64_t rank,
                                       DType wish);

// The dtype parameter that several codecs share: choice of f16, bf16 (where offered), f32.
DType dtype_parameter(const std::string& text);

}  // namespace laconic
