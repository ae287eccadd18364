// What tells whether two peers hold the same array.
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/base/hash.h"
#include "engine/transport/tcp/number_type.h"

namespace laconic {

enum class ContentHashKind : std::uint8_t {
  xxh3_128,  // of (number of bytes, type, bytes)
  simple,    // the published 32-bit one, in the first 4 bytes, least significant first; the others are 0
};
Hash128 content_hash(ContentHashKind kind, NumberType type, ByteSpan bytes);

// The hash of arXiv 2505.14065's library, made so that processors and GPUs agree. It does not mix in the
// length (one byte 01 and four bytes 01000000 are alike) and has 32 bits: for comparison, not for use.
std::uint32_t simple_hash(ByteSpan bytes);

}  // namespace laconic
