// The hashed contexts of one byte: finds what each has seen, says what follows, and learns.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/coding/mixing_contexts.h"
#include "engine/coding/mixing_estimates.h"
#include "engine/coding/mixing_history.h"
#include "engine/coding/mixing_slots.h"

namespace laconic {

class MixingLookups {
 public:
  static constexpr std::size_t inputs = mixing_contexts;

  explicit MixingLookups(int lines_log2);

  void start_byte(const MixingHashes& hashes);
  // The second half of a byte; partial: its first four bits, a one before them.
  void start_half(std::uint32_t partial);
  // A logit for each context: what followed its history of bits in all contexts of its kind; 0 where it has
  // none.
  void predict(std::int32_t* logits);
  void learn(int bit);

  // How many of the first mixing_graded_contexts have seen something.
  std::uint32_t grade() const { return grade_; }

 private:
  static constexpr std::size_t maps = 256;  // estimates of a context, by history

  const LogisticTables& logistic_;
  const BitHistories& histories_;
  MixingSlots slots_;
  std::vector<AdaptiveEstimate> history_maps_;
  MixingHashes hashes_{};
  std::array<MixingSlot*, mixing_contexts> found_{};
  std::array<std::uint32_t, mixing_contexts> map_at_{};
  std::size_t node_ = 0;  // the bits of the half byte so far
  std::uint32_t grade_ = 0;
};

}  // namespace laconic
