// Two layers that weigh logits: several sets of weights, each chosen by another circumstance, give an opinion
// each; a last set weighs the opinions. All learn by the gradient of the coding cost.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coding/mixing_logistic.h"
#include "engine/coding/mixing_weights.h"

namespace laconic {

class MixingLayers {
 public:
  // first[i]: the weight that input i starts with in every set, a multiple of mixing_lanes many. sizes[s]:
  // how many circumstances set s tells apart; `last_size` those of the last set.
  MixingLayers(std::span<const std::int32_t> first, std::span<const std::size_t> sizes, std::size_t last_size,
               const MixingWeightsKernel& kernel);

  std::int32_t* inputs() { return inputs_.data(); }
  // The logit of the weighed inputs. circumstances[s] < sizes[s].
  int mix(std::span<const std::uint32_t> circumstances, std::uint32_t last_circumstance);
  void learn(int bit);

 private:
  MixingWeightsKernel kernel_;
  const LogisticTables& logistic_;
  std::size_t sets_;
  std::vector<std::size_t> starts_, rows_;
  std::vector<std::int32_t> inputs_, weights_, last_weights_, sums_, steps_;
  std::vector<std::uint16_t> uses_;  // of each set of weights, up to a limit
  std::vector<std::int32_t*> chosen_;
  std::array<std::int32_t, mixing_lanes> opinions_{};
  std::int32_t* last_chosen_ = nullptr;
  int logit_ = 0;
};

}  // namespace laconic
