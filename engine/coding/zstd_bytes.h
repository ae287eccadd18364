// Whole buffers through zstd, as one frame with its checksum left out (carriers have their own).
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace laconic {

// level 1..19.
Bytes zstd_compress(ByteSpan bytes, int level = 9);
// Exactly `size` bytes, or Error(corrupt); never allocates more than that. The caller bounds `size`.
Bytes zstd_expand(ByteSpan coded, std::uint64_t size, std::string_view where);

}  // namespace laconic
