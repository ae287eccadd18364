// Bytes through rANS with one table for all of them (order 0): the default coder of payload fields.
//
// Stream: the frequencies (frequency_table.h, whole bytes), then the lanes (rans_lanes.h). When all bytes are
// equal there are no lanes. An empty input is an empty stream.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/bytes.h"

namespace laconic {

Bytes rans_compress(ByteSpan bytes);
// Fills `bytes` exactly, or Error(corrupt).
void rans_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);
// Scalar reference of rans_expand.
void rans_expand_scalar(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
