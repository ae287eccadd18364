// Products with a matrix of signs, S_ij = +1 where the one-bit code (code_planes.h) is 1 and -1 where it is
// 0. Several vectors share each pass over the bits. The kernel allocates and checks nothing.
#pragma once

#include <cstdint>

#include "runtime/code_planes.h"

namespace laconic {

// sums[m * tile.rows + r] = sum over j of S_rj inputs[m * stride + j], f32, for every row r of the tile and
// every input m of `count`. Requires inputs that are zero from `columns` on up to the next multiple of 32.
// Vector forms add in another order than the scalar reference.
void sign_products(const CodeTile& tile, std::int64_t columns, const float* inputs, std::int64_t stride,
                   std::int64_t count, float* sums);
void sign_products_scalar(const CodeTile& tile, std::int64_t columns, const float* inputs,
                          std::int64_t stride, std::int64_t count, float* sums);

}  // namespace laconic
