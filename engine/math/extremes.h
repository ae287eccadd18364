// The largest and the smallest entries of a vector: what a uniform grid gains most from not having to cover.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// Indices, ascending, of the k largest values and of the k smallest of the rest (of all of them where fewer
// than k are left). Ties go to the lower index. Values are numbers. Linear time.
std::vector<std::int64_t> extreme_entries(std::span<const float> values, std::int64_t k);

}  // namespace laconic
