#include "engine/base/bytes.h"

#include <bit>

#include "engine/base/error.h"

namespace laconic {

static_assert(std::endian::native == std::endian::little,
              "formats are little-endian and written as they lie");

void ByteReader::corrupt(std::string_view what) const {
  fail(ErrorKind::corrupt, std::string(what) + " at byte " + std::to_string(position_), where_);
}

ByteSpan ByteReader::take(std::size_t count) {
  if (count > remaining()) {
    corrupt("needs " + std::to_string(count) + " bytes, has " + std::to_string(remaining()));
  }
  const ByteSpan part = bytes_.subspan(position_, count);
  position_ += count;
  return part;
}

std::uint64_t ByteReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = u8();
    if (shift == 63 && byte > 1) corrupt("varint over 64 bits");
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift > 0) corrupt("overlong varint");
      return value;
    }
  }
  corrupt("varint over 10 bytes");
}

std::int64_t ByteReader::signed_varint() {
  const std::uint64_t value = varint();
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

std::uint64_t ByteReader::length(std::uint64_t limit) {
  const std::uint64_t value = varint();
  if (value > limit) {
    corrupt("length " + std::to_string(value) + " is over the limit " + std::to_string(limit));
  }
  return value;
}

std::string ByteReader::text(std::uint64_t limit) {
  const std::uint64_t count = length(limit);
  return std::string(as_text(take(count)));
}

void ByteReader::expect_end() const {
  if (!at_end()) corrupt(std::to_string(remaining()) + " bytes too many");
}

void ByteWriter::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
  u8(static_cast<std::uint8_t>(value));
}

void ByteWriter::signed_varint(std::int64_t value) {
  varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void ByteWriter::text(std::string_view value) {
  varint(value.size());
  append(as_byte_span(value));
}

void ByteWriter::pad_to(std::size_t multiple) {
  const std::size_t rest = bytes_.size() % multiple;
  if (rest != 0) bytes_.resize(bytes_.size() + multiple - rest);
}

}  // namespace laconic
