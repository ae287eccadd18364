// The mean without compression: a ring all-reduce in f32 (2 (W - 1) / W of 4 bytes a number) or rounded to
// bf16 on the wire and added in f32 (half of that).
#pragma once

#include <memory>

#include "engine/exchange/gradient_exchange.h"

namespace laconic {

enum class DenseForm { f32, bf16 };

std::unique_ptr<GradientExchange> dense_exchange(std::vector<TensorSlice> tensors, DenseForm form,
                                                 std::size_t bucket_bytes = 25'000'000);

}  // namespace laconic
