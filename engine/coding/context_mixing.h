// Bytes through context mixing: the smallest form, at two to three microseconds per byte in either direction.
//
// Every bit is predicted by many models that learn on the way (mixing_predictor.h) and coded with that
// probability (range_coder.h), in the family of PAQ (Mahoney 2002, 2005): hashed contexts of histories of
// bits, logits weighed by gradient descent, secondary estimation. The models know rows of text, words,
// fields, varints and records of a fixed length, tell these apart on the way, and learn fast enough for
// inputs of a few kilobytes.
//
// Stream: u8 header, then the range-coded bits. Header: bits 0-3 memory_log2 - 16; bit 4: stored, the bytes
// follow as they are; bits 5-7 are zero. An empty input is an empty stream. There is no size and no checksum:
// carriers have their own.
//
// Memory in either direction: 2^memory_log2 bytes or 128 for each byte of input, whichever is less, and 4 MB.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

struct ContextMixingOptions {
  static constexpr int least_memory_log2 = 16, most_memory_log2 = 28;
  int memory_log2 = 26;  // of the table of contexts, in bytes; decoding takes as much
};

// At most 2^31 bytes. Error(usage) for options out of range.
Bytes context_mixing_compress(ByteSpan bytes, const ContextMixingOptions& options = {});
// Fills `bytes` exactly, or Error(corrupt). Most damage gives other bytes instead.
void context_mixing_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
