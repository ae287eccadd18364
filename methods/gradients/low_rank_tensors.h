// Which tensors of a model are worth two factors.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/exchange/tensor_layout.h"

namespace laconic {

// By tensor: min(rank, smaller side) where (rows + columns) rank times `least_saving` is under rows times
// columns (the `min_compression_rate` of PyTorch's PowerSGD hook), else 0.
std::vector<std::int64_t> worthwhile_ranks(const std::vector<TensorSlice>& tensors, std::int64_t rank,
                                           double least_saving = 2);

}  // namespace laconic
