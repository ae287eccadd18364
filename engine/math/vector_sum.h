// out[i] = first[i] + second[i], at the speed of memory; `out` may be either of them.
#pragma once

#include <cstdint>

namespace laconic {

void vector_sum(const float* first, const float* second, std::int64_t size, float* out);

}  // namespace laconic
