// Whole buffers through zstd, as one frame with its checksum left out (carriers have their own).
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace laconic {

// level 1..19.
Bytes zstd_compress(ByteSpan bytes, int level = 9);
// Fills `bytes` exactly, or Error(corrupt).
void zstd_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
