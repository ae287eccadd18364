// The `|` of the composition language: fields of a payload replaced by an entropy-coded form where that is
// smaller.
//
// A coded field keeps its name with ".coded" appended, is u8, and holds
//   u8 dtype, varint rank, varint sides       of the field it stands for
//   per byte plane: u8 selector, varint length, bytes
// Elements of 2 and more bytes are split into byte planes (plane i holds byte i of every element), coded one
// by one, because sign and exponent bytes of real numbers are far from uniform while their last bytes are
// noise. The selector says how a plane is coded: 0 as it is, 1 rANS, 2 Huffman, 3 zstd; 4 cuts the plane of a
// u8 field into phases that are coded one by one (docs/format.md), for codes that straddle bytes.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "engine/codec/payload.h"

namespace laconic {

// best tries all and keeps the smallest.
enum class FieldCoder { rans, huffman, zstd, best };
std::string_view name_of(FieldCoder coder);
FieldCoder field_coder_named(std::string_view name);  // Error(usage) with the nearest name

// Codes every field that `selects` accepts, is not coded yet, and gets smaller.
void code_fields(Payload& payload, FieldCoder coder, const std::function<bool(std::string_view)>& selects);

// A copy with every coded field expanded. Error(corrupt) on fields that code_fields does not write; a field
// is never larger than 16 bytes per element of the tensor plus 64 KiB.
Payload expand_fields(const Payload& payload);

}  // namespace laconic
