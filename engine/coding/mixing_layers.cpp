#include "engine/coding/mixing_layers.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Rates of the first layer by how often a set was used, in 4096ths: fast at first, for small inputs are all
// there is to learn from.
constexpr auto layer_rates = [] {
  constexpr std::uint32_t lasting = 32, early = 120, halved = 100;
  std::array<std::uint8_t, 4096> rates{};
  for (std::uint32_t uses = 0; uses < rates.size(); ++uses)
    rates[uses] = static_cast<std::uint8_t>(lasting + early * halved / (halved + uses));
  return rates;
}();
constexpr std::int32_t last_rate = 5;

int mixing_limited(std::int32_t sum) { return std::clamp(sum >> 8, -logit_limit, logit_limit); }

}  // namespace

MixingLayers::MixingLayers(std::span<const std::int32_t> first, std::span<const std::size_t> sizes,
                           std::size_t last_size, const MixingWeightsKernel& kernel)
    : kernel_(kernel),
      logistic_(LogisticTables::shared()),
      sets_(sizes.size()),
      rows_(sets_),
      inputs_(first.size()),
      last_weights_(last_size * mixing_lanes),
      sums_(sets_),
      steps_(sets_),
      chosen_(sets_) {
  require(first.size() % mixing_lanes == 0 && sets_ <= mixing_lanes, "inputs and sets fill whole vectors");
  std::size_t all = 0;
  for (const std::size_t size : sizes) {
    starts_.push_back(all);
    all += size;
  }
  uses_.resize(all);
  weights_.reserve(all * first.size());
  for (std::size_t i = 0; i < all; ++i) weights_.insert(weights_.end(), first.begin(), first.end());
  for (std::size_t i = 0; i < last_weights_.size(); ++i) {
    if (i % mixing_lanes < sets_) last_weights_[i] = 65536 / static_cast<std::int32_t>(sets_);
  }
}

int MixingLayers::mix(std::span<const std::uint32_t> circumstances, std::uint32_t last_circumstance) {
  for (std::size_t s = 0; s < sets_; ++s) {
    rows_[s] = starts_[s] + circumstances[s];
    chosen_[s] = &weights_[rows_[s] * inputs_.size()];
  }
  kernel_.sum(inputs_.data(), chosen_.data(), sets_, inputs_.size(), sums_.data());
  for (std::size_t s = 0; s < sets_; ++s) opinions_[s] = mixing_limited(sums_[s]);
  last_chosen_ = &last_weights_[last_circumstance * mixing_lanes];
  std::int32_t sum = 0;
  kernel_.sum(opinions_.data(), &last_chosen_, 1, mixing_lanes, &sum);
  return logit_ = mixing_limited(sum);
}

void MixingLayers::learn(int bit) {
  const std::int32_t goal = bit != 0 ? 65536 : 0;
  for (std::size_t s = 0; s < sets_; ++s) {
    std::uint16_t& uses = uses_[rows_[s]];
    steps_[s] = (goal - logistic_.squash(opinions_[s])) * layer_rates[uses] / 64;
    if (uses + 1u < layer_rates.size()) ++uses;
  }
  kernel_.learn(inputs_.data(), chosen_.data(), sets_, inputs_.size(), steps_.data());
  const std::int32_t step = (goal - logistic_.squash(logit_)) * last_rate / 64;
  kernel_.learn(opinions_.data(), &last_chosen_, 1, mixing_lanes, &step);
}

}  // namespace laconic
