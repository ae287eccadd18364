// The loops of a reduction. Arrays may have any alignment; f16 and bf16 are folded as f32 by their callers.
#pragma once

#include <cstddef>

#include "engine/transport/tcp/number_type.h"

namespace laconic {

// to[i] = a[i] op b[i], avg as sum; integers wrap. `to` may be a or b.
void fold_numbers(NumberType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to,
                  std::size_t count);
// The scalar reference.
void fold_numbers_scalar(NumberType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to,
                         std::size_t count);
// values[i] /= divisor; integers truncate towards zero.
void divide_numbers(NumberType type, std::size_t divisor, std::byte* values, std::size_t count);

}  // namespace laconic
