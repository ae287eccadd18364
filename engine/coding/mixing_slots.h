// The table of hashed contexts: a slot for the 15 bit decisions of half a byte in one context, four in a
// cache line.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace laconic {

// All zero: nothing seen.
struct MixingSlot {
  std::uint8_t check;                    // of the hash that owns the slot
  std::array<std::uint8_t, 15> history;  // what was seen (BitHistories) behind each prefix of the half byte
};
struct alignas(64) MixingLine {
  std::array<MixingSlot, 4> slots;
};
static_assert(sizeof(MixingLine) == 64);

class MixingSlots {
 public:
  explicit MixingSlots(int lines_log2) : lines_(std::size_t{1} << lines_log2), shift_(32 - lines_log2) {}

  void prefetch(std::uint32_t hash) const { __builtin_prefetch(&lines_[hash >> shift_]); }
  // The slot of a hash, or an empty one for it: that which has seen least gives way.
  MixingSlot& find(std::uint32_t hash) {
    std::array<MixingSlot, 4>& slots = lines_[hash >> shift_].slots;
    const auto check = static_cast<std::uint8_t>(hash & 255);
    MixingSlot* least = &slots[0];
    for (MixingSlot& slot : slots) {
      if (slot.check == check && slot.history[0] != 0) return slot;
      if (slot.history[0] < least->history[0]) least = &slot;
    }
    *least = MixingSlot{};
    least->check = check;
    return *least;
  }

 private:
  std::vector<MixingLine> lines_;
  int shift_;
};

}  // namespace laconic
