// Reads the protobuf wire format: a message is a run of (field number, wire type, value). Lengths are checked
// against the bytes that are there, so a hostile message costs no memory.
// Source: Protocol Buffers documentation, "Encoding".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

struct WireField {
  std::uint32_t number = 0;
  std::uint32_t wire_type = 0;  // 0 varint, 1 eight bytes, 2 bytes, 5 four bytes
  std::uint64_t integer = 0;    // wire types 0, 1 and 5
  ByteSpan bytes;               // wire type 2; points into the message

  // The value as what the schema says it is; Error(corrupt) when the wire type does not fit.
  std::int32_t as_int32() const;
  bool as_bool() const;
  float as_float() const;
  std::string_view as_text() const;

  std::string_view where;
};

class WireReader {
 public:
  WireReader(ByteSpan message, std::string_view where) : message_(message), where_(where) {}
  // The next field, or nothing at the end. Throws Error(corrupt) on anything that is not a field; groups
  // (wire types 3 and 4) are long out of use and are refused.
  std::optional<WireField> next();

 private:
  std::uint64_t varint();
  [[noreturn]] void corrupt(std::string_view what) const;

  ByteSpan message_;
  std::string_view where_;
  std::size_t position_ = 0;
};

}  // namespace laconic
