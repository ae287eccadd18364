#include "runtime/tokenizer/wire_reader.h"

#include <bit>

#include "engine/base/error.h"

namespace laconic {
namespace {

[[noreturn]] void wrong_type(const WireField& field) {
  fail(ErrorKind::corrupt,
       "protobuf field " + std::to_string(field.number) + " has wire type " +
           std::to_string(field.wire_type) + ", which does not fit its meaning",
       field.where);
}

}  // namespace

std::int32_t WireField::as_int32() const {
  if (wire_type != 0) wrong_type(*this);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(integer));
}
bool WireField::as_bool() const {
  if (wire_type != 0) wrong_type(*this);
  return integer != 0;
}
float WireField::as_float() const {
  if (wire_type != 5) wrong_type(*this);
  return std::bit_cast<float>(static_cast<std::uint32_t>(integer));
}
std::string_view WireField::as_text() const {
  if (wire_type != 2) wrong_type(*this);
  return laconic::as_text(bytes);
}

void WireReader::corrupt(std::string_view what) const {
  fail(ErrorKind::corrupt, std::string(what) + " at byte " + std::to_string(position_), where_,
       "the file is damaged or not of this format; fetch it again");
}

std::uint64_t WireReader::varint() {
  std::uint64_t value = 0;
  // Writers may pad negative 32-bit numbers to ten bytes, so overlong forms are legal here.
  for (int shift = 0; shift < 70; shift += 7) {
    if (position_ >= message_.size()) corrupt("protobuf number cut off");
    const auto byte = static_cast<std::uint64_t>(message_[position_++]);
    if (shift == 63 && byte > 1) corrupt("protobuf number over 64 bits");
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  corrupt("protobuf number over 64 bits");
}

std::optional<WireField> WireReader::next() {
  if (position_ >= message_.size()) return std::nullopt;
  const std::uint64_t tag = varint();
  if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) corrupt("protobuf field number out of range");
  WireField field;
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.wire_type = static_cast<std::uint32_t>(tag & 7);
  field.where = where_;
  const std::size_t remaining = message_.size() - position_;
  const auto fixed = [&](std::size_t size) {
    if (remaining < size) corrupt("protobuf field cut off");
    for (std::size_t i = 0; i < size; ++i) {
      field.integer |= static_cast<std::uint64_t>(message_[position_ + i]) << (8 * i);
    }
    position_ += size;
  };
  switch (field.wire_type) {
    case 0:
      field.integer = varint();
      break;
    case 1:
      fixed(8);
      break;
    case 5:
      fixed(4);
      break;
    case 2: {
      const std::uint64_t length = varint();
      if (length > message_.size() - position_) corrupt("protobuf length goes past the end");
      field.bytes = message_.subspan(position_, static_cast<std::size_t>(length));
      position_ += static_cast<std::size_t>(length);
      break;
    }
    default:
      corrupt("protobuf wire type " + std::to_string(field.wire_type) + " is not supported");
  }
  return field;
}

}  // namespace laconic
