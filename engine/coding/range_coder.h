// Range coder with a 32-bit range and carry propagation (Martin 1979; the carry is held back as in LZMA).
//
// The coder holds an interval [low, low + range) of the numbers whose bytes the stream spells, 2^24 <= range.
// Coding a symbol with cumulative c and frequency f out of a total t <= 65536 cuts it:
//   r = floor(range / t);  low += r c;  range = r f, or what is left of it for the last symbol (c + f = t)
// and, while range < 2^24, the highest byte of low leaves and both move up by 8 bits. The stream ends with
// the fewest bytes that name a number inside the interval; the decoder sees zeros behind them.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

inline constexpr std::uint32_t range_coder_top = 1u << 24;

class RangeEncoder {
 public:
  // frequency >= 1, cumulative + frequency <= total <= 65536.
  void put(std::uint32_t cumulative, std::uint32_t frequency, std::uint32_t total) {
    const std::uint32_t unit = range_ / total;
    low_ += std::uint64_t{unit} * cumulative;
    range_ = cumulative + frequency == total ? range_ - unit * cumulative : unit * frequency;
    while (range_ < range_coder_top) {
      shift();
      range_ <<= 8;
    }
  }
  // One of two symbols: yes, which has `ones` of 65536, or no. 1 <= ones <= 65535.
  void put_bit(bool one, std::uint32_t ones) { put(one ? 0 : ones, one ? ones : 65536 - ones, 65536); }
  Bytes take();  // ends the stream; the encoder starts anew

 private:
  void shift();

  std::uint64_t low_ = 0;  // 33 bits: the highest is a carry
  std::uint32_t range_ = UINT32_MAX;
  std::uint8_t held_ = 0;        // the last byte that a carry may still change,
  std::uint64_t held_ones_ = 0;  // and how many 0xFF stand behind it
  bool started_ = false;         // held_ is a byte of the stream
  Bytes bytes_;
};

class RangeDecoder {
 public:
  // `bytes` and `where` outlive the decoder.
  RangeDecoder(ByteSpan bytes, std::string_view where);

  // A number in [0, total) that lies in the interval of the next symbol. take() must follow, with that symbol
  // and the same total.
  std::uint32_t peek(std::uint32_t total) {
    unit_ = range_ / total;
    const std::uint32_t value = code_ / unit_;
    return value < total ? value : total - 1;
  }
  void take(std::uint32_t cumulative, std::uint32_t frequency, std::uint32_t total) {
    code_ -= unit_ * cumulative;
    range_ = cumulative + frequency == total ? range_ - unit_ * cumulative : unit_ * frequency;
    while (range_ < range_coder_top) {
      code_ = code_ << 8 | next();
      range_ <<= 8;
    }
  }
  // What put_bit() coded. Does without the division that peek() takes, most of the time of a binary decision.
  bool take_bit(std::uint32_t ones) {
    const std::uint32_t bound = (range_ >> 16) * ones;
    const bool one = code_ < bound;
    code_ -= one ? 0 : bound;
    range_ = one ? bound : range_ - bound;
    // At least 2^-16 of the range is left, so that two bytes are enough. When they are needed nobody can
    // predict.
    const int shift = range_ < 1u << 16 ? 16 : range_ < range_coder_top ? 8 : 0;
    code_ = code_ << shift | next_two() >> (16 - shift);
    position_ += static_cast<std::uint64_t>(shift / 8);
    range_ <<= shift;
    return one;
  }
  // Error(corrupt) when bytes are left over.
  void expect_end() const;

 private:
  std::uint8_t next() {
    const std::uint64_t at = position_++;
    if (at < bytes_.size()) return static_cast<std::uint8_t>(bytes_[at]);
    if (at >= bytes_.size() + beyond_end) corrupt("range-coded stream ends too early");
    return 0;
  }
  // The next two bytes, not yet taken.
  std::uint32_t next_two() {
    if (position_ + 2 <= bytes_.size())
      return std::uint32_t{static_cast<std::uint8_t>(bytes_[position_])} << 8 |
             static_cast<std::uint8_t>(bytes_[position_ + 1]);
    return two_at_end();
  }
  std::uint32_t two_at_end();
  [[noreturn]] void corrupt(std::string_view what) const;

  // The decoder is 3 bytes ahead of the symbols, and the encoder leaves up to 4 zeros out.
  static constexpr std::uint64_t beyond_end = 7;
  ByteSpan bytes_;
  std::string_view where_;
  std::uint64_t position_ = 0;
  std::uint32_t code_ = 0;  // the stream's number minus low; below range
  std::uint32_t range_ = UINT32_MAX;
  std::uint32_t unit_ = 0;
};

}  // namespace laconic
