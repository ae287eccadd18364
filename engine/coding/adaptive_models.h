// Models that learn while they code, for the range coder. Encoder and decoder update alike, in integers.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "engine/coding/range_coder.h"

namespace laconic {

// One binary decision: the mean of two 16-bit estimates of P(one), which move towards each outcome by 1/16
// and by 1/128 of the way.
class AdaptiveBit {
 public:
  void encode(RangeEncoder& encoder, bool one) {
    encoder.put_bit(one, probability());
    learn(one);
  }
  bool decode(RangeDecoder& decoder) {
    const bool one = decoder.take_bit(probability());
    learn(one);
    return one;
  }
  // P(one) in 65536ths, never 0 or 65536: the estimates stop 15 and 127 short of the ends.
  std::uint32_t probability() const { return (std::uint32_t{fast_} + slow_) / 2; }

 private:
  void learn(bool one) {
    if (one) {
      fast_ = static_cast<std::uint16_t>(fast_ + ((65536 - fast_) >> 4));
      slow_ = static_cast<std::uint16_t>(slow_ + ((65536 - slow_) >> 7));
    } else {
      fast_ = static_cast<std::uint16_t>(fast_ - (fast_ >> 4));
      slow_ = static_cast<std::uint16_t>(slow_ - (slow_ >> 7));
    }
  }
  std::uint16_t fast_ = 32768, slow_ = 32768;
};

// One binary decision: the mean of what was seen, later one that moves. P(one) begins at 1/2 and goes 2 / (2
// n + 3) of the way towards the n-th outcome, counted from 0 and no further than to `most_seen`. Coders take
// it as 64 to 65472 65536ths.
struct SettlingBit {
  static constexpr std::uint16_t most_seen = 60;
  std::uint16_t ones = 32768;  // P(one) in 65536ths
  std::uint16_t seen = 0;

  void learn(bool one) {
    const std::int32_t target = one ? 65535 : 0;
    const std::int64_t step = (std::int64_t{target - ones} * rates[seen]) >> 16;
    ones = static_cast<std::uint16_t>(ones + step);
    if (seen < most_seen) ++seen;
  }
  void encode(RangeEncoder& encoder, bool one) {
    encoder.put_bit(one, coded_ones());
    learn(one);
  }
  bool decode(RangeDecoder& decoder) {
    const bool one = decoder.take_bit(coded_ones());
    learn(one);
    return one;
  }

 private:
  // What coders take: neither outcome is ever certain.
  std::uint32_t coded_ones() const { return std::clamp<std::uint32_t>(ones, 64, 65472); }
  static constexpr auto rates = [] {
    std::array<std::int32_t, most_seen + 1> table{};
    for (std::int32_t n = 0; n <= most_seen; ++n) table[static_cast<std::size_t>(n)] = 131072 / (2 * n + 3);
    return table;
  }();
};

// A whole number below 2^31, as its width in bits, 5 decisions from the highest on, and its bits below the
// highest one. The first of these learns, by width; the others are even.
class AdaptiveNumber {
 public:
  static constexpr int widths = 32;

  void encode(RangeEncoder& encoder, std::uint32_t number);
  std::uint32_t decode(RangeDecoder& decoder);

 private:
  std::array<SettlingBit, widths> width_;   // by 1, then the bits of the width so far
  std::array<SettlingBit, widths> second_;  // by width
};

// A symbol of up to 2048 kinds: counts that start at 1, grow by 32 and are halved (rounding up) before their
// sum would pass 4096. Cumulative counts stand in a binary indexed tree (Fenwick 1994).
class AdaptiveSymbol {
 public:
  static constexpr std::uint32_t most_symbols = 2048;
  explicit AdaptiveSymbol(std::uint32_t symbols);  // 1 to most_symbols

  void encode(RangeEncoder& encoder, std::uint32_t symbol);
  std::uint32_t decode(RangeDecoder& decoder);
  std::uint32_t count(std::uint32_t symbol) const { return counts_[symbol]; }
  std::uint32_t total() const { return total_; }

 private:
  static constexpr std::uint32_t limit = 4096, increment = 32;
  std::uint32_t cumulative(std::uint32_t symbol) const;
  void learn(std::uint32_t symbol);
  void rebuild();

  std::vector<std::uint16_t> counts_, tree_;  // tree_[i]: sum of the counts of a range that ends at i - 1
  std::uint32_t total_ = 0;
};

}  // namespace laconic
