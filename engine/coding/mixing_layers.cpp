#include "engine/coding/mixing_layers.h"

#include "engine/base/error.h"
#include "engine/coding/mixing_tune.h"

namespace laconic {
namespace {

int mixing_limited(std::int32_t sum) { return std::clamp(sum >> 8, -logit_limit, logit_limit); }

}  // namespace

MixingLayers::MixingLayers(std::span<const std::int32_t> first, std::span<const std::size_t> sizes,
                           std::size_t last_size, const MixingWeightsKernel& kernel)
    : kernel_(kernel),
      logistic_(LogisticTables::shared()),
      sets_(sizes.size()),
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
  row_ = starts_;
  starts_.push_back(0);
  uses_.resize(all);
  weights_.reserve(all * first.size());
  for (std::size_t i = 0; i < all; ++i) weights_.insert(weights_.end(), first.begin(), first.end());
  for (std::size_t i = 0; i < last_weights_.size(); ++i) {
    if (i % mixing_lanes < sets_) last_weights_[i] = 65536 / static_cast<std::int32_t>(sets_);
  }
}

int MixingLayers::mix(std::span<const std::uint32_t> circumstances, std::uint32_t last_circumstance) {
  for (std::size_t s = 0; s < sets_; ++s) {
    const std::size_t row = starts_[s] + circumstances[s];
    chosen_[s] = &weights_[row * inputs_.size()];
    if (TUNE(inh,1) && uses_[row] == 0) {
      const std::size_t from = TUNE(inh,1) == 1 ? row_[s] : starts_[sets_];
      std::copy_n(&weights_[from * inputs_.size()], inputs_.size(), chosen_[s]);
      uses_[row] = 1;
    }
    row_[s] = row;
  }
  kernel_.sum(inputs_.data(), chosen_.data(), sets_, inputs_.size(), sums_.data());
  for (std::size_t s = 0; s < sets_; ++s) opinions_[s] = mixing_limited(sums_[s]);
  last_chosen_ = &last_weights_[last_circumstance * mixing_lanes];
  std::int32_t sum = 0;
  kernel_.sum(opinions_.data(), &last_chosen_, 1, mixing_lanes, &sum);
  return logit_ = mixing_limited(sum);
}

void MixingLayers::learn(int bit, int rate) {
  const std::int32_t goal = bit != 0 ? 65536 : 0;
  for (std::size_t s = 0; s < sets_; ++s) {
    if (TUNE(rr,1)) rate = TUNE(lr, 32) + TUNE(lr1, 110) * TUNE(lrU, 100) / (TUNE(lrU, 100) + uses_[row_[s]]);
    uses_[row_[s]] = std::min(uses_[row_[s]] + 1, 65535);
    steps_[s] = (goal - logistic_.squash(opinions_[s])) * rate / 64;
  }
  kernel_.learn(inputs_.data(), chosen_.data(), sets_, inputs_.size(), steps_.data());
  const std::int32_t step = (goal - logistic_.squash(logit_)) * TUNE(lr2, 8) / 64;
  kernel_.learn(opinions_.data(), &last_chosen_, 1, mixing_lanes, &step);
}

}  // namespace laconic
