// The state machine that every rANS stream here shares (Duda 2013; interleaving after Giesen 2014).
//
// A lane is a 32-bit state x in [2^16, 2^32). Coding a symbol with frequency f and cumulative c out of 65536:
//   encode  if x >= f 2^16: write the low 16 bits of x, x >>= 16;   x = (x / f) 2^16 + x mod f + c
//   decode  slot = x mod 2^16 picks the symbol;  x = f (x >> 16) + slot - c;  if x < 2^16: x = x 2^16 + word
// Symbol i belongs to lane i mod lanes. Encoding runs from the last symbol to the first, every lane starting
// at 2^16, so that a decoder that took the last symbol finds 2^16 in every lane and no words left.
// Stream: u32 states of the lanes, then the 16-bit words in the order in which decoding needs them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

#include "engine/base/bytes.h"
#include "engine/coding/frequency_table.h"

namespace laconic {

inline constexpr std::uint32_t rans_low = 1u << 16;
inline constexpr int rans_most_lanes = 32;

// Lanes of a stream of `count` symbols; part of the format. Few symbols do not pay for many states.
constexpr int rans_lanes(std::uint64_t count) { return count < 4096 ? 1 : count < 65536 ? 4 : 32; }

class RansEncoder {
 public:
  explicit RansEncoder(std::uint64_t count) : RansEncoder(count, rans_lanes(count)) {}
  RansEncoder(std::uint64_t count, int lanes)
      : lanes_(lanes),
        lane_(count % static_cast<std::uint64_t>(lanes_)),
        words_(std::make_unique_for_overwrite<std::uint16_t[]>(count + 1)),
        end_(count + 1),
        first_(count + 1) {
    states_.fill(rans_low);
  }
  // Symbols come from the last to the first; the symbol has a frequency.
  void put(const FrequencyTable& table, std::size_t symbol) {
    lane_ = (lane_ == 0 ? static_cast<std::uint64_t>(lanes_) : lane_) - 1;
    const std::uint32_t frequency = table.frequency(symbol);
    if (frequency == frequency_total) return;  // costs nothing and changes nothing
    std::uint32_t& x = states_[lane_];
    // Arithmetic, not a condition: whether a word leaves is as good as random.
    const std::uint32_t full = x >> 16 >= frequency;
    words_[first_ - 1] = static_cast<std::uint16_t>(x);
    first_ -= full;
    x >>= 16 * full;
    const std::uint32_t quotient = table.divide(x, symbol);
    x = (quotient << 16) + (x - quotient * frequency) + table.cumulative(symbol);
  }
  void append_to(ByteWriter& writer) const;

 private:
  int lanes_;
  std::uint64_t lane_;
  std::array<std::uint32_t, rans_most_lanes> states_;
  std::unique_ptr<std::uint16_t[]> words_;  // at most one per symbol, filled from the end
  std::size_t end_, first_;
};

// Lanes of a stream that may be damaged: Error(corrupt) when words run out.
class RansDecoder {
 public:
  // Takes the states from `reader` and the words up to its end.
  RansDecoder(ByteReader& reader, int lanes, std::string_view where);

  std::uint32_t slot() const { return states_[lane_] & 0xFFFF; }
  // Removes the symbol that holds slot() and goes to the next lane.
  void take(std::uint32_t cumulative, std::uint32_t frequency) {
    std::uint32_t& x = states_[lane_];
    x = frequency * (x >> 16) + (x & 0xFFFF) - cumulative;
    if (x < rans_low) {
      if (words_.size() < 2) [[unlikely]]
        corrupt("rANS stream ends too early");
      std::uint16_t word;
      std::memcpy(&word, words_.data(), 2);
      words_ = words_.subspan(2);
      x = x << 16 | word;
    }
    if (++lane_ == lanes_) lane_ = 0;
  }
  // Error(corrupt) unless every lane is back at its start and every word is used.
  void expect_end() const;

  // For kernels that run lanes by themselves. The lane whose turn is next:
  int lane() const { return lane_; }
  void go_to(int lane) { lane_ = lane; }
  std::array<std::uint32_t, rans_most_lanes>& states() { return states_; }
  int lanes() const { return lanes_; }
  ByteSpan words() const { return words_; }
  void use_words(std::size_t bytes) { words_ = words_.subspan(bytes); }

 private:
  [[noreturn]] void corrupt(std::string_view what) const;

  int lanes_;
  int lane_ = 0;
  std::array<std::uint32_t, rans_most_lanes> states_;
  ByteSpan words_;
  std::string_view where_;
};

}  // namespace laconic
