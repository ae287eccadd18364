// How the products of LinearOp are cut into tasks and tiles, whatever the weights are stored as.
#pragma once

#include <cstdint>

namespace laconic {

// Weights per task: small products are not worth waking a thread for.
constexpr std::int64_t weights_per_task = 1 << 16;
// A tile of weights that is expanded for BLAS: 256 rows by 256 columns, 256 KiB, stay in the second-level
// cache.
constexpr std::int64_t expanded_rows = 256, expanded_columns = 256;

}  // namespace laconic
