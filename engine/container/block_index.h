// Where the frames of a block file are: by its footer, or without one by a walk and a scan for markers. Also
// the bytes of the file's header and footer. The format is stated in docs/format-blocks.md.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/container/block_frame.h"

namespace laconic {

inline constexpr std::size_t most_block_header_bytes = 65536;  // of the application

struct BlockIndex {
  Bytes header;                   // the application's
  bool header_found = true;       // false: damaged, and no footer has a copy
  bool header_repaired = false;   // damaged, but the footer has a copy
  bool by_footer = true;          // false: found by a scan
  std::vector<FrameInfo> frames;  // in order; ordinals and item numbers ascend
  std::uint64_t end = 0;          // one past the last frame; the footer stands there
  std::uint64_t stray_bytes = 0;  // that a scan found to belong to no frame: damaged, cut, or a broken footer
};

// `magic`: the application's 4 bytes. Error(input) where the bytes are no such file, which is also what is
// left of one that was cut inside its header.
BlockIndex read_block_index(ByteSpan file, std::string_view magic, std::string_view where);

Bytes encode_block_header(std::string_view magic, ByteSpan header);

// The footer for a file whose frames end at `end`. A few frames without gaps need no table: a reader walks
// over their heads.
Bytes encode_block_footer(std::string_view magic, ByteSpan header, const std::vector<FrameInfo>& frames,
                          std::uint64_t end);

}  // namespace laconic
