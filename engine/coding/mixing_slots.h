// The table of hashed contexts: one cache line for the 15 bits decisions of half a byte in one context.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace laconic {

// All zero: nothing seen.
struct alignas(64) MixingSlot {
  std::uint16_t check;     // of the hash that owns the slot
  std::uint8_t last_byte;  // that followed the context (slots of the first half only),
  std::uint8_t run;        // and how many times in a row, at most 255
  // For each prefix of the half byte: what was seen (BitHistories) and P(one) - 1/2 in 65536ths.
  std::array<std::uint8_t, 15> history;
  std::array<std::int16_t, 15> lean;
};
static_assert(sizeof(MixingSlot) == 64);

class MixingSlots {
 public:
  explicit MixingSlots(int slots_log2) : slots_(std::size_t{1} << slots_log2), shift_(32 - slots_log2) {}

  void prefetch(std::uint32_t hash) const { __builtin_prefetch(&slots_[hash >> shift_]); }
  // The slot of a hash, or an empty one for it: of two neighbours the one that has seen less gives way.
  MixingSlot& find(std::uint32_t hash) {
    const std::size_t at = hash >> shift_;
    const auto check = static_cast<std::uint16_t>((hash & 0xFFFF) | 1);
    MixingSlot& first = slots_[at];
    if (first.check == check) return first;
    MixingSlot& second = slots_[at ^ 1];
    if (second.check == check) return second;
    MixingSlot& chosen = first.history[0] <= second.history[0] ? first : second;
    chosen = MixingSlot{};
    chosen.check = check;
    return chosen;
  }

 private:
  std::vector<MixingSlot> slots_;
  int shift_;
};

}  // namespace laconic
