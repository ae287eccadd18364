// A payload between peers that have agreed on its codec and its tensor: only what decoding still needs, the
// attributes and the fields. Names are one byte each where the table below knows them, so that a bucket of
// many small tensors is not a bucket of headers. No checksum: messages of many tensors carry one.
//
//   varint attributes; each: name, kind (u8), value
//   varint fields;     each: name, dtype (u8), varint rank, varint sides, then its bytes
//   name: varint 1 + index into the table, or varint 0 and text
#pragma once

#include <string_view>

#include "engine/codec/payload.h"

namespace laconic {

void write_message(ByteWriter& writer, const Payload& payload);
// The payload of a tensor of `shape` that `codec` (canonical text) wrote. Error(corrupt) on anything that
// write_message does not write; what the codec makes of it, its decode() checks.
Payload read_message(ByteReader& reader, std::string_view codec, DType dtype, const Shape& shape);

}  // namespace laconic
