#include "engine/coding/mixing_predictor.h"

#include <algorithm>
#include <bit>
#include "engine/coding/mixing_tune.h"

namespace laconic {
namespace {

#define long_repetition static_cast<std::size_t>(TUNE(ml,12))
#define short_repetition static_cast<std::size_t>(TUNE(ms,5))
constexpr std::uint32_t kinds = 6;  // of bytes

constexpr std::size_t first_direct = MixingLookups::inputs + 3;  // behind the places: orders 1 and 0, a constant
constexpr std::size_t predictor_inputs = (first_direct + 3 + mixing_lanes - 1) / mixing_lanes * mixing_lanes;
constexpr std::size_t predictor_sets[] = {256, 16 * 4 * 4, 7 * kinds * 8, 16 * kinds * 8, 256, 256, 256 * 8};
constexpr std::size_t predictor_last_set = 16 * 4;

std::array<std::int32_t, predictor_inputs> predictor_first_weights() {
  std::array<std::int32_t, predictor_inputs> weights{};
  for (std::size_t i = 0; i < MixingLookups::inputs; ++i) weights[i] = TUNE(w0, 12000);
  for (std::size_t i = MixingLookups::inputs; i < first_direct + 3; ++i) weights[i] = TUNE(w2, 16000);
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

int curves_log2(int slots_log2) { return std::clamp(slots_log2 - TUNE(clm,4), 8, TUNE(cl,15)); }

}  // namespace

MixingPredictor::MixingPredictor(std::span<const std::byte> text, const MixingLayout& layout,
                                 const MixingWeightsKernel& kernel)
    : text_(text),
      logistic_(LogisticTables::shared()),
      rows_(text),
      period_(text),
      long_match_(text, long_repetition, std::clamp(layout.slots_log2, 10, 18)),
      short_match_(text, short_repetition, std::clamp(layout.slots_log2, 10, 18)),
      lookups_(layout.slots_log2),
      order1_(65536),
      order0_(256),
      layers_(predictor_first_weights(), predictor_sets, predictor_last_set, kernel),
      curves_of_one_(std::size_t{1} << curves_log2(layout.slots_log2), logistic_),
      curves_of_three_(std::size_t{1} << curves_log2(layout.slots_log2), logistic_),
      curves_((1u << curves_log2(layout.slots_log2)) - 1) {
  layers_.inputs()[first_direct + 2] = 256;
  start_byte();
  predict();
}

void MixingPredictor::start_byte() {
  is_text_ = text_share_ > TUNE(tth, 32768);
  const MixingScene scene{text_, position_, recent_, rows_, numbers_, long_match_, period_.length()};
  lookups_.start_byte(is_text_ ? mixing_text_contexts(scene) : mixing_number_contexts(scene));
  start_match(long_place_, long_match_);
  start_match(short_place_, short_match_);
  if (!is_text_ && period_.length() > 0 && position_ >= period_.length()) {
    aligned_place_.start_byte(static_cast<std::uint8_t>(text_[position_ - period_.length()]), 32);
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
  const std::uint32_t there =
      rows_.has_aligned() ? static_cast<std::uint32_t>(text_[rows_.aligned()]) : 0u;
  std::uint32_t circumstances[] = {
      partial_,
      far + 16 * near + 64 * hits,
      (lookups_.seen_orders() + 7 * kind) * 8 + bit,
      (std::min(rows_.field(), 15u) * kinds + kind) * 8 + bit,
      last,
      std::min(rows_.column(), 255u),
      there * 8 + bit,
  };
  const std::uint32_t mode = is_text_ ? 0 : 1;
  const std::uint32_t cost = std::min(cost_ >> 9, 7u);
  const std::uint32_t expected = long_place_.active() ? 1u * long_match_.expected() : short_place_.active() ? 1u * short_match_.expected() : 0;
  if (TUNE(s3,0) == 1) circumstances[3] = (cost * 2 + mode) * 8 + bit;
  if (TUNE(s3,0) == 2) circumstances[3] = (cost * 2 + mode);
  if (TUNE(s3,0) == 3) circumstances[3] = (cost * kinds + kind);
  if (TUNE(s5,0) == 1) circumstances[5] = mode ? std::min(numbers_.repeats(), 7u) + 8 * std::min(numbers_.length(), 3u) : 32 + kind;
  if (TUNE(s5,0) == 2) circumstances[5] = mode ? 128 + bit + 8 * std::min(numbers_.length(), 3u) : std::min(rows_.column(), 127u);
  if (TUNE(s5,0) == 3) circumstances[5] = expected;
  if (TUNE(s6,0) == 1) circumstances[6] = expected * 8 + bit;
  if (TUNE(s6,0) == 2) circumstances[6] = (recent_ >> 8 & 255);
  if (TUNE(s6,0) == 3) circumstances[6] = mode * 256 + partial_;
  for (int i = 0; i < 7; ++i) if (TUNE(nos,0) >> i & 1) circumstances[i] = 0;
  for (int i = 0; i < 20; ++i) if (TUNE(noc,0) >> i & 1) layers_.inputs()[i] = 0;
  return layers_.mix(circumstances, far + 16 * hits);
}

std::uint32_t MixingPredictor::correct(int logit) {
  const auto mixed = static_cast<std::uint32_t>(logistic_.squash(logit));
  const auto one = static_cast<std::uint32_t>(recent_ & 0xFF), three = TUNE(ax,0) == 1 ? static_cast<std::uint32_t>(recent_ & 0xFFFF) : TUNE(ax,0) == 2 ? 99 + (short_place_.active() ? 1 + short_match_.expected() + 256 * std::min(short_match_.length(), 31u) : 0) : TUNE(ax,0) == 3 ?  mixing_hash(is_text_ ? rows_.shape() : numbers_.length(), 1) : TUNE(ax,0) == 4 ? std::min(cost_ >> 9, 7u) : static_cast<std::uint32_t>(recent_ & 0xFFFFFF);
  const std::uint32_t by_one = curves_of_one_.refine(logit, mixing_hash(one, partial_) & curves_);
  const std::uint32_t by_three = curves_of_three_.refine(logit, mixing_hash(three, partial_) & curves_);
  return (TUNE(a0,2) * mixed + TUNE(a1,1) * by_one + TUNE(a2,1) * by_three + 2) / 4;
}

void MixingPredictor::predict() { probability_ = std::clamp(correct(mix()), 1u, 65535u); }

void MixingPredictor::end_byte() {
  const auto byte = static_cast<std::uint8_t>(partial_);
  rows_.advance(position_);
  numbers_.advance(byte);
  period_.advance(position_);
  const ByteClass kind = byte_class(byte);
  text_share_ += ((kind != ByteClass::other ? 65536 : 0) - text_share_) >> TUNE(tsh, 4);
  long_match_.advance(position_);
  short_match_.advance(position_);
  recent_ = recent_ << 8 | byte;
  ++position_;
}

void MixingPredictor::learn(int bit) {
  {
    // about 2^8 per bit of cost... linear of the error, in 256ths
    const std::uint32_t miss = bit ? 65535 - probability_ : probability_;
    byte_cost_ += miss >> 6;  // at most 8 * 1024
    if (bit_at_ == 7) { cost_ += (static_cast<std::int32_t>(byte_cost_) - static_cast<std::int32_t>(cost_)) / (1 << TUNE(ch,1)); byte_cost_ = 0; }
  }
  // Fast at first: small inputs are all there is to learn from.
  const int age = static_cast<int>(std::min<std::size_t>(position_, 1u << 20));
  layers_.learn(bit, TUNE(lr, 48) + TUNE(lr0, 192) * TUNE(lrT, 2000) / (TUNE(lrT, 2000) + age));
  curves_of_one_.learn(bit, TUNE(ar, 6));
  curves_of_three_.learn(bit, TUNE(ar, 6));
  lookups_.learn(bit);
  long_place_.learn(bit);
  short_place_.learn(bit);
  aligned_place_.learn(bit);
  order1_[(recent_ & 255) << 8 | partial_].learn(bit, 60);
  order0_[partial_].learn(bit, 60);
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
