// Whole buffers through LZMA of liblzma, in the smallest framing.
//
// Stream: one byte of properties, (pb * 5 + lp) * 9 + lc, then the range-coded data of LZMA1 without the zero
// byte that they always start with (the properties stand in its place). There is no size, no dictionary size,
// no end marker and no checksum: carriers know the size and have a checksum of their own. An empty input is
// an empty stream.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/bytes.h"

namespace laconic {

struct LzmaOptions {
  int preset = 9;       // 0..9, how hard to search
  bool extreme = true;  // slower, a little smaller
  // Bits of the last byte (lc) and of the position (lp) that choose the model of a literal, lc + lp <= 4;
  // bits of the position that choose that of a match (pb <= 4). Position bits suit data of 2, 4 ... byte
  // records.
  int lc = 3, lp = 0, pb = 0;
  // How far back matches reach, in bytes. 0: as far as the input is long, at most 64 MiB. The encoder needs
  // about 12 times this much memory.
  std::uint32_t dictionary = 0;
};

// Error(usage) for options out of range.
Bytes lzma_compress(ByteSpan bytes, const LzmaOptions& options = {});
// Fills `bytes` exactly, or Error(corrupt). Needs as much memory again as `bytes` and 64 KB.
void lzma_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
