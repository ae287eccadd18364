#include "engine/coding/mixing_lookups.h"

#include <algorithm>
#include "engine/coding/mixing_tune.h"

namespace laconic {
namespace {

#define history_map_limit static_cast<std::uint32_t>(tuning.mlimit)  // bits after which a map's rate stays

// What a history says before anything was learnt: bits that never differed are trusted more.
AdaptiveEstimate history_prior(int zeros, int ones) {
  const int doubt = zeros == 0 || ones == 0 ? TUNE(dd, 20) : TUNE(dm, 40);  // in hundredths of a bit
  const int probability = 65536 * (100 * ones + doubt) / (100 * (zeros + ones) + 2 * doubt);
  return AdaptiveEstimate(static_cast<std::uint32_t>(probability), static_cast<std::uint32_t>(TUNE(hseen, 4)));
}

}  // namespace

MixingLookups::MixingLookups(int slots_log2)
    : logistic_(LogisticTables::shared()),
      histories_(BitHistories::shared()),
      slots_(slots_log2),
      history_maps_(mixing_contexts * maps) {
  for (int s = 0; s < histories_.states(); ++s) {
    const auto state = static_cast<std::uint8_t>(s);
    const int zeros = histories_.zeros(state), ones = histories_.ones(state);
    const int steadiest = std::min(zeros + ones, TUNE(leanlimit, 30));
    lean_rates_[state] = mixing_rates[static_cast<std::size_t>(steadiest)];
    for (std::size_t m = state; m < history_maps_.size(); m += 256) history_maps_[m] = history_prior(zeros, ones);
  }
}

void MixingLookups::start_byte(const MixingHashes& hashes) {
  hashes_ = hashes;
  for (const std::uint32_t hash : hashes_) slots_.prefetch(hash);
  for (std::size_t c = 0; c < mixing_contexts; ++c) found_[c] = &slots_.find(hashes_[c]);
  first_half_ = found_;
  node_ = 0;
}

void MixingLookups::start_half(std::uint32_t partial) {
  for (std::uint32_t& hash : hashes_) {
    hash = mixing_hash(hash, partial);
    slots_.prefetch(hash);
  }
  for (std::size_t c = 0; c < mixing_contexts; ++c) found_[c] = &slots_.find(hashes_[c]);
  node_ = 0;
}

void MixingLookups::predict(std::uint32_t partial, int bit_at, std::int32_t* logits) {
  seen_orders_ = 0;
  for (std::size_t c = 0; c < mixing_contexts; ++c) {
    const MixingSlot& slot = *found_[c];
    const MixingSlot& half = *first_half_[c];
    const std::uint8_t history = slot.history[node_];
    const std::uint32_t last = half.last_byte;
    const bool agrees = half.run > 0 && (last | 256) >> (8 - bit_at) == partial;
    const std::uint32_t map = agrees ? 1 + (last >> (7 - bit_at) & 1) : 0;
    map_at_[c] = static_cast<std::uint32_t>(c * maps) + map * 256 + history;
    logits[2 * c] = history == 0 ? 0 : logistic_.stretch(history_maps_[map_at_[c]].probability());
    logits[2 * c + 1] = logistic_.stretch(static_cast<std::uint32_t>(slot.lean[node_] + 32768));
    if (c < mixing_orders) seen_orders_ += history != 0 ? 1 : 0;
  }
}

void MixingLookups::learn(int bit) {
  const std::int32_t goal = bit != 0 ? 32767 : -32768;
  for (std::size_t c = 0; c < mixing_contexts; ++c) {
    std::uint8_t& history = found_[c]->history[node_];
    if (history != 0) history_maps_[map_at_[c]].learn(bit, history_map_limit);
    std::int16_t& lean = found_[c]->lean[node_];
    lean = static_cast<std::int16_t>(lean + (((goal - lean) * lean_rates_[history]) >> 16));
    history = histories_.after(history, bit);
  }
  node_ = 2 * node_ + 1 + static_cast<std::size_t>(bit);
}

void MixingLookups::end_byte(std::uint8_t byte) {
  for (MixingSlot* slot : first_half_) {
    slot->run = slot->last_byte == byte && slot->run > 0 ? std::min(slot->run + 1, 255) : 1;
    slot->last_byte = byte;
  }
}

}  // namespace laconic
