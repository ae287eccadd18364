#include <algorithm>
#include <cmath>

#include "runtime/row_kernel.h"

namespace laconic::row_scalar {

void scale_row(float* x, std::int64_t size, float factor) {
  for (std::int64_t i = 0; i < size; ++i) x[i] *= factor;
}

float largest_of(const float* x, std::int64_t size) { return *std::max_element(x, x + size); }

void rms_norm(const float* x, const float* weight, std::int64_t size, float eps, float* y) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum += static_cast<double>(x[i]) * x[i];
  const auto scale = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(size) + eps));
  for (std::int64_t i = 0; i < size; ++i) y[i] = x[i] * scale * weight[i];
}

void silu_multiply(float* gate, const float* up, std::int64_t size) {
  for (std::int64_t i = 0; i < size; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

void softmax(float* scores, std::int64_t size, float factor) {
  const float top = *std::max_element(scores, scores + size);
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    scores[i] = std::exp(factor * (scores[i] - top));
    sum += scores[i];
  }
  for (std::int64_t i = 0; i < size; ++i) scores[i] = static_cast<float>(scores[i] / sum);
}

double exponentials(float* x, std::int64_t size, float top) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    x[i] = std::exp(x[i] - top);
    sum += static_cast<double>(x[i]);
  }
  return sum;
}

double log_sum_exp(const float* x, std::int64_t size) {
  const double top = *std::max_element(x, x + size);
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum += std::exp(x[i] - top);
  return top + std::log(sum);
}

double kl_divergence(const float* a, double a_shift, const float* b, double b_shift, std::int64_t size) {
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double log_p = a[i] - a_shift;
    sum += std::exp(log_p) * (log_p - (b[i] - b_shift));
  }
  return sum;
}

}  // namespace laconic::row_scalar
