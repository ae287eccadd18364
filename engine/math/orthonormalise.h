// Orthonormal columns by the modified Gram-Schmidt process with one reorthogonalisation, in float64 with a
// fixed order of operations: the same bits for the same input, whatever library does the products around it.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

// A [rows, columns], row-major, columns <= rows, in place. A column that depends on those before it (what is
// left of it is under 1e-6 of its length) becomes zero.
void orthonormalise_columns(std::span<float> a, std::int64_t rows, std::int64_t columns);

}  // namespace laconic
