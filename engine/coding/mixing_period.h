// The length of the records in the bytes just before: found again and again while coding, from known bytes
// alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace laconic {

class MixingPeriod {
 public:
  static constexpr std::size_t longest = 128;

  explicit MixingPeriod(std::span<const std::byte> text) : text_(text) {}

  // The byte at `position` became known. Call for 0, 1, 2 ...
  void advance(std::size_t position);

  // 2..longest, or 0 where bytes do not look like records.
  std::uint32_t length() const { return length_; }

 private:
  void choose();

  std::span<const std::byte> text_;
  // By distance less one: bytes that equalled the one so far before, of the last few and of all with less
  // weight.
  std::array<std::uint8_t, longest> fresh_{};
  std::array<std::uint16_t, longest> equal_{};
  std::uint32_t length_ = 0;
};

}  // namespace laconic
