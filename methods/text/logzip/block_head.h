// What stands in front of the streams of a coded block.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/text/logzip/lines.h"

namespace laconic::logzip {

struct BlockHead {
  bool lossy = false;
  std::uint64_t size = 0;     // bytes of the block
  std::vector<LineEnd> ends;  // one per line
  ByteSpan ids;               // encode_ids()
};

void write_block_head(const BlockHead& head, ByteWriter& writer);
// Error(corrupt) on other bytes. The head views into what the reader reads.
BlockHead read_block_head(ByteReader& reader);

}  // namespace laconic::logzip
