#include "engine/coding/mixing_lookups.h"

#include <algorithm>

namespace laconic {
namespace {

constexpr std::uint32_t history_map_limit = 255;  // bits after which a map's rate stays

// What a history says before anything was learnt, worth ten bits: those that never differed are trusted more.
AdaptiveEstimate history_prior(int zeros, int ones) {
  const int doubt = zeros == 0 || ones == 0 ? 30 : 40;  // in hundredths of a bit
  const int probability = 65536 * (100 * ones + doubt) / (100 * (zeros + ones) + 2 * doubt);
  return AdaptiveEstimate(static_cast<std::uint32_t>(probability), 10);
}

}  // namespace

MixingLookups::MixingLookups(int lines_log2)
    : logistic_(LogisticTables::shared()),
      histories_(BitHistories::shared()),
      slots_(lines_log2),
      history_maps_(mixing_contexts * maps) {
  for (int s = 0; s < histories_.states(); ++s) {
    const auto state = static_cast<std::uint8_t>(s);
    const int zeros = histories_.zeros(state), ones = histories_.ones(state);
    for (std::size_t m = state; m < history_maps_.size(); m += 256)
      history_maps_[m] = history_prior(zeros, ones);
  }
}

void MixingLookups::start_byte(const MixingHashes& hashes) {
  hashes_ = hashes;
  for (const std::uint32_t hash : hashes_) slots_.prefetch(hash);
  for (std::size_t c = 0; c < mixing_contexts; ++c) found_[c] = &slots_.find(hashes_[c]);
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

void MixingLookups::predict(std::int32_t* logits) {
  for (std::size_t c = 0; c < mixing_contexts; ++c) {
    const std::uint8_t history = found_[c]->history[node_];
    map_at_[c] = static_cast<std::uint32_t>(c * maps) + history;
    const int logit = logistic_.stretch(history_maps_[map_at_[c]].probability());
    logits[c] = history == 0 ? 0 : logit;
  }
  grade_ = 0;
  for (std::size_t c = 0; c < mixing_graded_contexts; ++c) grade_ += found_[c]->history[node_] != 0 ? 1 : 0;
}

void MixingLookups::learn(int bit) {
  for (std::size_t c = 0; c < mixing_contexts; ++c) {
    std::uint8_t& history = found_[c]->history[node_];
    if (history != 0) history_maps_[map_at_[c]].learn(bit, history_map_limit);
    history = histories_.after(history, bit);
  }
  node_ = 2 * node_ + 1 + static_cast<std::size_t>(bit);
}

}  // namespace laconic
