#include "engine/coding/mixing_predictor.h"

#include <algorithm>
#include <bit>

namespace laconic {
namespace {

constexpr std::size_t long_repetition = 12, short_repetition = 4;
constexpr std::size_t first_direct =
    MixingLookups::inputs + 3;  // behind the places: orders 1 and 0, a constant
constexpr std::size_t first_unused = first_direct + 3;
constexpr std::size_t predictor_inputs = (first_unused + mixing_lanes - 1) / mixing_lanes * mixing_lanes;
// In 65536ths. The sum is above one: opinions that agree strengthen each other.
constexpr std::int32_t lookup_weight = 8000, direct_weight = 9000;

constexpr std::uint32_t surprise_levels = 8, grades = mixing_graded_contexts + 1;
constexpr std::size_t predictor_sets[] = {
    256, std::size_t{16} * 4 * 4, grades* byte_classes * 8, surprise_levels* byte_classes, 64, 512};
constexpr std::size_t predictor_last_set = std::size_t{16} * 4;

constexpr std::uint32_t direct_limit = 60;  // bits after which the rate of a direct estimate stays
constexpr int curve_rate = 5;
constexpr std::int32_t all_text = 65536, enough_text = 45000;
constexpr std::size_t period_strength = 32;  // of places a record before; those below are for rows

std::array<std::int32_t, predictor_inputs> predictor_first_weights() {
  std::array<std::int32_t, predictor_inputs> weights{};
  std::fill_n(weights.begin(), MixingLookups::inputs, lookup_weight);
  std::fill(weights.begin() + MixingLookups::inputs, weights.begin() + first_unused, direct_weight);
  return weights;
}

// Lengths in buckets: exact below 16, then by powers of two, at most 31.
std::uint32_t length_bucket(std::uint32_t length) {
  if (length < 16) return length;
  return std::min<std::uint32_t>(11 + static_cast<std::uint32_t>(std::bit_width(length)), 31);
}

void start_match(MixingPlace& place, const MixingMatch& match) {
  if (match.length() == 0) return place.start_byte_without();
  place.start_byte(match.expected(), length_bucket(match.length()) + (match.misses() != 0 ? 32 : 0));
}

int curves_log2(int lines_log2) { return std::clamp(lines_log2 - 6, 8, 11); }
int places_log2(int lines_log2) { return std::clamp(lines_log2, 10, 18); }

}  // namespace

MixingPredictor::MixingPredictor(std::span<const std::byte> text, int lines_log2,
                                 const MixingWeightsKernel& kernel)
    : text_(text),
      logistic_(LogisticTables::shared()),
      rows_(text),
      period_(text),
      long_match_(text, long_repetition, places_log2(lines_log2)),
      short_match_(text, short_repetition, places_log2(lines_log2)),
      lookups_(lines_log2),
      order1_(65536),
      order0_(256),
      layers_(predictor_first_weights(), predictor_sets, predictor_last_set, kernel),
      last_curves_(curves_log2(lines_log2), logistic_),
      match_curves_(curves_log2(lines_log2), logistic_) {
  layers_.inputs()[first_direct + 2] = 256;
  start_byte();
  predict();
}

void MixingPredictor::start_byte() {
  is_text_ = text_share_ > enough_text;
  const MixingScene scene{text_, position_, recent_, rows_, numbers_, long_match_, period_.length()};
  lookups_.start_byte(is_text_ ? mixing_text_contexts(scene) : mixing_number_contexts(scene));
  start_match(long_place_, long_match_);
  start_match(short_place_, short_match_);
  if (!is_text_ && period_.length() > 0 && position_ >= period_.length()) {
    aligned_place_.start_byte(static_cast<std::uint8_t>(text_[position_ - period_.length()]),
                              period_strength);
  } else if (rows_.has_aligned()) {
    aligned_place_.start_byte(static_cast<std::uint8_t>(text_[rows_.aligned()]), length_bucket(rows_.hits()));
  } else {
    aligned_place_.start_byte_without();
  }
  partial_ = 1;
  bit_at_ = 0;
}

int MixingPredictor::mix() {
  std::int32_t* inputs = layers_.inputs();
  lookups_.predict(inputs);
  inputs += MixingLookups::inputs;
  inputs[0] = long_place_.predict(partial_, bit_at_, logistic_);
  inputs[1] = short_place_.predict(partial_, bit_at_, logistic_);
  inputs[2] = aligned_place_.predict(partial_, bit_at_, logistic_);
  const auto last = static_cast<std::uint32_t>(recent_ & 255);
  inputs[3] = logistic_.stretch(order1_[last << 8 | partial_].probability());
  inputs[4] = logistic_.stretch(order0_[partial_].probability());

  const auto bit = static_cast<std::uint32_t>(bit_at_);
  const auto kind = static_cast<std::uint32_t>(byte_class(static_cast<std::uint8_t>(last)));
  const std::uint32_t far =
      long_place_.active() ? 1 + std::min(length_bucket(long_match_.length()) / 2, 14u) : 0;
  const std::uint32_t near =
      short_place_.active() ? 1 + std::min(length_bucket(short_match_.length()) / 4, 2u) : 0;
  const std::uint32_t hits = aligned_place_.active() ? 1 + std::min(rows_.hits(), 2u) : 0;
  const std::uint32_t circumstances[] = {
      last,
      far + 16 * near + 64 * hits,
      (lookups_.grade() + grades * kind) * 8 + bit,
      std::min(surprise_ >> 9, surprise_levels - 1) * static_cast<std::uint32_t>(byte_classes) + kind,
      is_text_ ? 32 + kind : std::min(numbers_.repeats(), 7u) + 8 * std::min(numbers_.length(), 3u),
      is_text_ ? partial_ : 256 + partial_,
  };
  return layers_.mix(circumstances, far + 16 * hits);
}

void MixingPredictor::predict() {
  const std::uint32_t expectation =
      short_place_.active() ? 1u + short_match_.expected() + 256 * std::min(short_match_.length(), 31u) : 0;
  last_curves_.choose(mixing_hash(static_cast<std::uint32_t>(recent_ & 255), partial_));
  match_curves_.choose(mixing_hash(expectation, partial_));
  const int logit = mix();
  const auto mixed = static_cast<std::uint32_t>(logistic_.squash(logit));
  const std::uint32_t corrected =
      (mixed + last_curves_.refine(logit) + 2 * match_curves_.refine(logit) + 2) / 4;
  probability_ = std::clamp(corrected, 1u, 65535u);
}

void MixingPredictor::end_byte() {
  const auto byte = static_cast<std::uint8_t>(partial_);
  rows_.advance(position_);
  numbers_.advance(byte);
  period_.advance(position_);
  text_share_ += ((byte_class(byte) != ByteClass::other ? all_text : 0) - text_share_) / 32;
  long_match_.advance(position_);
  short_match_.advance(position_);
  recent_ = recent_ << 8 | byte;
  ++position_;
  surprise_ = (3 * surprise_ + byte_surprise_) / 4;
  byte_surprise_ = 0;
}

void MixingPredictor::learn(int bit) {
  byte_surprise_ += (bit != 0 ? 65535 - probability_ : probability_) >> 6;
  layers_.learn(bit);
  last_curves_.learn(bit, curve_rate);
  match_curves_.learn(bit, curve_rate);
  lookups_.learn(bit);
  long_place_.learn(bit);
  short_place_.learn(bit);
  aligned_place_.learn(bit);
  order1_[(recent_ & 255) << 8 | partial_].learn(bit, direct_limit);
  order0_[partial_].learn(bit, direct_limit);
  partial_ = partial_ << 1 | static_cast<std::uint32_t>(bit);
  if (++bit_at_ == 8) {
    end_byte();
    start_byte();
  } else if (bit_at_ == 4) {
    lookups_.start_half(partial_);
  }
  predict();
}

}  // namespace laconic
