// The longest recent repetition: where the last bytes stood before, and which byte followed them there.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

class MixingMatch {
 public:
  // Looks for repetitions of at least `shortest` bytes. `text` as for MixingRows.
  MixingMatch(std::span<const std::byte> text, std::size_t shortest, int places_log2);

  void advance(std::size_t position);

  std::uint32_t length() const { return length_; }  // of the repetition so far, at most 65535; 0: none
  std::uint8_t expected() const { return static_cast<std::uint8_t>(text_[place_]); }  // if length() > 0
  std::uint32_t misses() const { return misses_; }  // recent failures, as a shift register of 8

 private:
  std::uint32_t measure(std::size_t place, std::size_t next) const;

  std::span<const std::byte> text_;
  std::size_t shortest_, place_ = 0;
  int shift_;
  std::uint32_t length_ = 0, misses_ = 0;
  std::vector<std::uint32_t> places_;
};

}  // namespace laconic
