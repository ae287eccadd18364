// The numbers just before, where bytes are varints: seven bits a byte, the lowest first, 128 added to all but
// the last.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "engine/coding/mixing_rows.h"

namespace laconic {

class MixingNumbers {
 public:
  void advance(std::uint8_t byte) {
    repeats_ = byte == last_ ? std::min(repeats_ + 1, 255u) : 0;
    last_ = byte;
    started_ = mixing_hash(started_ + 1, byte);
    ++length_;
    value_ |= static_cast<std::uint64_t>(byte & 127) << std::min(shift_, 56u);
    shift_ += 7;
    if (byte >= 128) return;
    for (std::size_t i = before_.size() - 1; i > 0; --i)
      before_[i] = before_[i - 1], sizes_[i] = sizes_[i - 1];
    before_[0] = started_;
    sizes_[0] = static_cast<std::uint32_t>(std::bit_width(value_));
    started_ = length_ = shift_ = 0;
    value_ = 0;
  }

  std::uint32_t started() const { return started_; }  // hash of the bytes of the current number; 0: none
  std::uint32_t length() const { return length_; }    // how many they are
  std::uint32_t before(std::size_t back) const {
    return before_[back - 1];
  }                                                                        // hash of the number 1..4 before
  std::uint32_t size(std::size_t back) const { return sizes_[back - 1]; }  // its bits
  std::uint32_t repeats() const { return repeats_; }  // how often the last byte has repeated

 private:
  std::uint32_t started_ = 0, length_ = 0, shift_ = 0, repeats_ = 0;
  std::uint8_t last_ = 0;
  std::uint64_t value_ = 0;
  std::array<std::uint32_t, 4> before_{}, sizes_{};
};

}  // namespace laconic
