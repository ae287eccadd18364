// Sums of weighted logits and the steps of their weights: the inner loops of context mixing.
//
// Inputs are logits (mixing_logistic.h), weights are in 65536ths. Every product is shifted before it is
// added, so the order of additions does not matter and vectors equal scalars bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace laconic {

// Counts of inputs are multiples of this.
inline constexpr std::size_t mixing_lanes = 16;
inline constexpr int mixing_weight_limit = 1 << 19;  // 8.0

// `sets` sets of weights at once, set s at weights[s].
struct MixingWeightsKernel {
  // sums[s] = sum over i of (inputs[i] weights[s][i]) >> 8, which is 256 times a logit.
  void (*sum)(const std::int32_t* inputs, const std::int32_t* const* weights, std::size_t sets,
              std::size_t count, std::int32_t* sums);
  // weights[s][i] += (inputs[i] steps[s] + 2^13) >> 14, then within the limit. |steps[s]| <= 2^18.
  void (*learn)(const std::int32_t* inputs, std::int32_t* const* weights, std::size_t sets, std::size_t count,
                const std::int32_t* steps);
};

// The best for this machine, and the reference.
MixingWeightsKernel mixing_weights_vector();
MixingWeightsKernel mixing_weights_scalar();

}  // namespace laconic
