// Row-wise kernels of a transformer in f32. They validate and allocate nothing; buffers do not overlap unless
// said. Each has a scalar reference of the same name in row_scalar; the vector forms differ from it by
// rounding only.
#pragma once

#include <cstdint>

namespace laconic {

// y_i = x_i w_i / sqrt(mean(x^2) + eps). x and y may be the same.
void rms_norm(const float* x, const float* weight, std::int64_t size, float eps, float* y);
// gate_i = silu(gate_i) up_i, silu(g) = g / (1 + e^-g).
void silu_multiply(float* gate, const float* up, std::int64_t size);
// scores_i = softmax_i(factor * scores), size >= 1.
void softmax(float* scores, std::int64_t size, float factor);
// x_i = factor x_i.
void scale_row(float* x, std::int64_t size, float factor);
// The largest of x, size >= 1.
float largest_of(const float* x, std::int64_t size);
// x_i = e^(x_i - top) in place, 0 below e^-87; returns their sum. x_i may be -infinity, top is finite and no
// less than any x_i.
double exponentials(float* x, std::int64_t size, float top);
// ln sum_i e^x_i, size >= 1.
double log_sum_exp(const float* x, std::int64_t size);
// sum_i p_i (ln p_i - ln q_i) for p = e^(a - a_shift), q = e^(b - b_shift); shifts are log_sum_exp of a and
// b.
double kl_divergence(const float* a, double a_shift, const float* b, double b_shift, std::int64_t size);

namespace row_scalar {
void scale_row(float* x, std::int64_t size, float factor);
float largest_of(const float* x, std::int64_t size);
void rms_norm(const float* x, const float* weight, std::int64_t size, float eps, float* y);
void silu_multiply(float* gate, const float* up, std::int64_t size);
void softmax(float* scores, std::int64_t size, float factor);
double exponentials(float* x, std::int64_t size, float top);
double log_sum_exp(const float* x, std::int64_t size);
double kl_divergence(const float* a, double a_shift, const float* b, double b_shift, std::int64_t size);
}  // namespace row_scalar

}  // namespace laconic
