// Rows of a matrix that one task works on. A constant: the sums inside a tile, and with them the bytes that
// are stored, must not depend on the number of threads.
#pragma once

#include <cstdint>

namespace laconic {

constexpr std::int64_t row_tile = 64;

}  // namespace laconic
