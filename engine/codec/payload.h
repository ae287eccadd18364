// The output of every codec: named, typed arrays plus attributes, which serialise to exactly the bytes that
// travel or are stored. Sizes are always taken from serialised bytes.
//
// Two carriers:
//  - safetensors: fields become entries "<tensor>.<field>", padded with zeros to a multiple of 64 bytes, and
//  the
//    description (codec, dtype, shape, attributes, true field lengths) becomes JSON text (docs/format.md);
//  - compact frame: varint lengths, fields and a checksum, for the wire and for single small items.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/codec/attributes.h"
#include "engine/tensor/tensor.h"

namespace laconic {

// One array of a payload. dtype is u8 (packed codes, entropy-coded bytes) or f16, bf16, f32, i32, i64.
struct Field {
  std::string name;  // [a-z0-9_.]+, unique inside the payload
  Tensor data;
};

struct Payload {
  std::string codec;         // canonical composition text, e.g. "uniform(bits=2,group=64)|rans"
  DType dtype = DType::f32;  // of the original tensor
  Shape shape;               // of the original tensor
  Attributes attributes;
  std::vector<Field> fields;

  const Field* find(std::string_view name) const;
  // The field, or Error(corrupt) when it is missing, of another dtype, or has another element count.
  const Tensor& field(std::string_view name, DType dtype, std::int64_t elements) const;
  void add(std::string name, Tensor data);
  // Sum of the true field lengths: what the fields cost before headers and padding.
  std::uint64_t field_bytes() const;
  Payload copy() const;
};

// What a payload may hold. Readers refuse more, writers promise not to make it.
struct PayloadLimits {
  std::size_t rank = 8;           // sides of a shape
  std::size_t fields = 1024;      // per payload
  std::size_t name = 64;          // bytes of a field name
  std::size_t codec_text = 4096;  // bytes of the composition text
};
inline constexpr PayloadLimits payload_limits;

// Throws Error(corrupt) when names, dtypes, shapes or counts are not what the comments above say.
void validate(const Payload& payload, std::string_view where);
// Bytes of an array that untrusted data describes, or Error(corrupt) for a shape that makes no sense.
std::uint64_t checked_bytes(DType dtype, const Shape& shape, std::string_view where);

// A few bytes can describe a tensor of any size (all zero, rank one), so every decoder first checks what it
// would allocate: a payload may decode to 2^28 elements, plus 2^14 for each byte of its fields, and never to
// more than this limit (default 2^36). Programs that read from strangers set it lower. Returns the former
// limit.
std::int64_t set_decode_limit(std::int64_t elements);
// Error(corrupt) when the payload's shape is over the limit.
void require_decodable(const Payload& payload);

// Compact frame. Layout in docs/format.md. parse_frame throws Error(corrupt) on anything else.
Bytes to_frame(const Payload& payload);
Payload parse_frame(ByteSpan bytes, std::string_view where);

}  // namespace laconic
