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

  explicit MixingLookups(int slots_log2);

  void start_byte(const MixingHashes& hashes);
  // The second half of a byte; partial: its first four bits, a one before them.
  void start_half(std::uint32_t partial);
  // Two logits for each context: what followed its history of bits in all contexts of its kind (0 where there is
  // none), and its own leaning. bit_at bits of the byte are known.
  void predict(std::int32_t* logits);
  void learn(int bit);

  // How many of the contexts of the last 1, 2 ... 6 bytes have seen something.
  std::uint32_t seen_orders() const { return seen_orders_; }

 private:
  // A map per context and per what its last byte says of the next bit: nothing, a zero, a one.
  static constexpr std::size_t maps = 256;

  const LogisticTables& logistic_;
  const BitHistories& histories_;
  MixingSlots slots_;
  std::vector<AdaptiveEstimate> history_maps_;
  MixingHashes hashes_{};
  std::array<MixingSlot*, mixing_contexts> found_{};
  std::array<std::uint32_t, mixing_contexts> map_at_{};
  std::size_t node_ = 0;  // the bits of the half byte so far
  std::uint32_t seen_orders_ = 0;
};

}  // namespace laconic
