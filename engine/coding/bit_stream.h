// Bits of any width, least significant first: the first bit written is the lowest bit of byte 0. The last
// byte is filled with zeros.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

// Most bits of one put, peek, read or skip: what a 64-bit word holds behind up to 7 bits of another byte.
inline constexpr int bit_stream_width = 56;

class BitWriter {
 public:
  // The low `bits` bits of value, 0 to 56; the rest of value is ignored.
  void put(std::uint64_t value, int bits) {
    pending_ |= (value & ((std::uint64_t{1} << bits) - 1)) << filled_;
    filled_ += bits;
    if (bytes_.size() - size_ < 8) [[unlikely]]
      grow();
    std::memcpy(bytes_.data() + size_, &pending_, 8);
    const int whole = filled_ / 8;
    size_ += static_cast<std::size_t>(whole);
    pending_ = whole == 8 ? 0 : pending_ >> (8 * whole);
    filled_ %= 8;
  }
  void put_ones(std::uint64_t count);

  std::uint64_t bits() const { return size_ * 8 + static_cast<std::uint64_t>(filled_); }
  Bytes take();  // whole bytes; the writer is empty afterwards

 private:
  void grow();

  Bytes bytes_;  // room; the first size_ bytes and the low filled_ < 8 bits of pending_ are written
  std::size_t size_ = 0;
  std::uint64_t pending_ = 0;
  int filled_ = 0;
};

// Never reads a bit beyond its bytes: read and skip throw Error(corrupt), peek sees zeros there.
class BitReader {
 public:
  // `where` names the data in error messages and outlives the reader.
  explicit BitReader(ByteSpan bytes, std::string_view where = {})
      : data_(bytes.data()), size_(bytes.size()), where_(where) {}

  // The next 0 to 56 bits without taking them.
  std::uint64_t peek(int bits) const { return word() & ((std::uint64_t{1} << bits) - 1); }
  void skip(int bits) {
    position_ += static_cast<std::uint64_t>(bits);
    if (position_ > size_ * 8) [[unlikely]]
      corrupt("bits end too early");
  }
  std::uint64_t read(int bits) {
    const std::uint64_t value = peek(bits);
    skip(bits);
    return value;
  }
  // Counts ones up to the next zero and takes both; Error(corrupt) beyond `limit` ones.
  std::uint64_t read_ones(std::uint64_t limit);

  std::uint64_t position() const { return position_; }  // bits
  std::uint64_t remaining() const { return size_ * 8 - position_; }
  // Goes to the next whole byte; the bits between must be zero.
  void align();
  // Error(corrupt) unless less than a byte is left and its bits are zero.
  void expect_end();
  [[noreturn]] void corrupt(std::string_view what) const;

 private:
  // At least 56 bits from the position on, zeros behind the end.
  std::uint64_t word() const {
    const std::uint64_t at = position_ / 8;
    std::uint64_t word = 0;
    if (at + 8 <= size_) {
      std::memcpy(&word, data_ + at, 8);
    } else if (at < size_) {
      std::memcpy(&word, data_ + at, size_ - at);
    }
    return word >> (position_ % 8);
  }

  const std::byte* data_;
  std::uint64_t size_;
  std::string_view where_;
  std::uint64_t position_ = 0;
};

}  // namespace laconic
