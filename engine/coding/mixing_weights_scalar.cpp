#include <algorithm>

#include "engine/coding/mixing_weights.h"

namespace laconic {
namespace {

void mixing_sum_scalar(const std::int32_t* inputs, const std::int32_t* const* weights, std::size_t sets,
                       std::size_t count, std::int32_t* sums) {
  for (std::size_t s = 0; s < sets; ++s) {
    sums[s] = 0;
    for (std::size_t i = 0; i < count; ++i) sums[s] += (inputs[i] * weights[s][i]) >> 8;
  }
}

void mixing_learn_scalar(const std::int32_t* inputs, std::int32_t* const* weights, std::size_t sets,
                         std::size_t count, const std::int32_t* steps) {
  for (std::size_t s = 0; s < sets; ++s) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::int32_t moved = weights[s][i] + ((inputs[i] * steps[s] + (1 << 13)) >> 14);
      weights[s][i] = std::clamp(moved, -mixing_weight_limit, mixing_weight_limit);
    }
  }
}

}  // namespace

MixingWeightsKernel mixing_weights_scalar() { return {mixing_sum_scalar, mixing_learn_scalar}; }

}  // namespace laconic
