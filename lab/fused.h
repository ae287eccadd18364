// The element-wise steps of a transformer block as single passes with hand-written gradients. Each equals the
// composition of LibTorch operations that it replaces; at the widths of small models those would take most of
// the time.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace laconic::lab {

// x w / sqrt(mean(x^2) + eps) over the last dimension. Gradients for x and w.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// Rotary positions, half-split: x cos + swap_halves(x) sin. x [windows, tokens, heads, dim]; cosine and sine
// [tokens, 1, dim], sine negative in the lower half. Gradient for x.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine);

// silu(gate) * up. Gradients for both.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

// softmax(scale * scores) over keys 0..query of each query, or the last `window` of them when window > 0;
// zeros elsewhere. scores [batch, group, tokens, tokens]. Gradient for scores.
at::Tensor causal_softmax(const at::Tensor& scores, double scale, std::int64_t window);

}  // namespace laconic::lab
