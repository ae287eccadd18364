// The probability of the next bit of a buffer, from many models whose logits are weighed together.
//
// Before each byte the recent ones decide whether contexts of text or of numbers are looked up
// (mixing_contexts.h). For every bit each context gives a logit (mixing_lookups.h), and so does each place
// where the text may go on (mixing_places.h); two layers weigh them (mixing_layers.h), and two curves correct
// the result. Everything learns from every bit. All arithmetic is in integers, so every machine predicts the
// same.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coding/mixing_contexts.h"
#include "engine/coding/mixing_estimates.h"
#include "engine/coding/mixing_layers.h"
#include "engine/coding/mixing_lookups.h"
#include "engine/coding/mixing_match.h"
#include "engine/coding/mixing_numbers.h"
#include "engine/coding/mixing_period.h"
#include "engine/coding/mixing_places.h"
#include "engine/coding/mixing_rows.h"

namespace laconic {

class MixingPredictor {
 public:
  // A byte of `text` is read once all its bits were passed to learn(): a decoder fills it on the way.
  // lines_log2: cache lines for contexts, 8..22.
  MixingPredictor(std::span<const std::byte> text, int lines_log2, const MixingWeightsKernel& kernel);

  std::uint32_t probability() const { return probability_; }  // P(one) in 65536ths, 1..65535
  // The last bit of a byte: after the byte was written into the text.
  void learn(int bit);

 private:
  void start_byte();
  void end_byte();
  void predict();
  int mix();

  std::span<const std::byte> text_;
  const LogisticTables& logistic_;
  MixingRows rows_;
  MixingNumbers numbers_;
  MixingPeriod period_;
  MixingMatch long_match_, short_match_;
  MixingLookups lookups_;
  MixingPlace long_place_, short_place_, aligned_place_;
  std::vector<AdaptiveEstimate> order1_, order0_;
  MixingLayers layers_;
  LogitCurves last_curves_, match_curves_;  // by the last byte, and by what the short match expects

  std::size_t position_ = 0;
  std::uint64_t recent_ = 0;   // the last eight bytes, the newest lowest
  std::uint32_t partial_ = 1;  // the bits of the byte so far, a one before them
  int bit_at_ = 0;
  std::int32_t text_share_ = 65536;  // of the recent bytes, in 65536ths
  bool is_text_ = true;
  // Probability, in 1024ths, that the last bits did not have: summed over the byte so far, and over whole
  // bytes the recent mean.
  std::uint32_t byte_surprise_ = 0, surprise_ = 0;
  std::uint32_t probability_ = 32768;
};

}  // namespace laconic
