// What a context has seen, in one byte: how many zeros and ones followed it, and which came last.
//
// Counts are exact while they are small. A bit that surprises cuts the other count, so that recent bits weigh
// more; pairs too large for a byte are cut back. State 0: nothing seen.
#pragma once

#include <array>
#include <cstdint>

namespace laconic {

class BitHistories {
 public:
  static const BitHistories& shared();

  std::uint8_t after(std::uint8_t state, int bit) const {
    return next_[state][static_cast<std::size_t>(bit)];
  }
  int zeros(std::uint8_t state) const { return zeros_[state]; }
  int ones(std::uint8_t state) const { return ones_[state]; }
  int states() const { return states_; }

 private:
  BitHistories();

  std::array<std::array<std::uint8_t, 2>, 256> next_{};
  std::array<std::uint8_t, 256> zeros_{}, ones_{};
  int states_ = 0;
};

}  // namespace laconic
