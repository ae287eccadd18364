// What a product of two thin factors leaves of a matrix when the factors are found by subspace iteration, as
// PowerSGD finds them: cheaper than singular values, and close to their tail.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/random.h"

namespace laconic {

// || A - P P^T A ||_F for A [rows, columns], row-major, with the orthonormal P [rows, rank] that five rounds
// find from a random start.
double subspace_error(std::span<const float> a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                      RandomStream random);

}  // namespace laconic
