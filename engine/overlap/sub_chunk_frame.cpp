#include "engine/overlap/sub_chunk_frame.h"

#include <fmt/format.h>

#include "engine/base/error.h"

namespace laconic {

void write_sub_chunk_header(int chunk, int sub, std::span<std::byte> frame) {
  require(frame.size() >= sub_chunk_header_bytes, "a frame has room for its header");
  const std::uint32_t header[2] = {static_cast<std::uint32_t>(chunk), static_cast<std::uint32_t>(sub)};
  std::memcpy(frame.data(), header, sizeof header);
}

SubChunkFrame read_sub_chunk_frame(ByteSpan frame, const ChunkLayout& layout, bool plain,
                                   const std::string& where) {
  ByteReader reader(frame, where);
  const std::uint32_t chunk = reader.u32(), sub = reader.u32();
  if (chunk >= static_cast<std::uint32_t>(layout.chunks()))
    reader.corrupt(fmt::format("there is no chunk {}", chunk));
  SubChunkFrame result;
  result.chunk = static_cast<int>(chunk);
  if (sub >= static_cast<std::uint32_t>(layout.subs_of(result.chunk)))
    reader.corrupt(fmt::format("chunk {} has no sub-chunk {}", chunk, sub));
  result.sub = static_cast<int>(sub);
  result.payload = reader.take(reader.remaining());
  const auto numbers = static_cast<std::size_t>(layout.sub_chunk(result.chunk, result.sub).numbers);
  if (plain && result.payload.size() != numbers * sizeof(float)) {
    reader.corrupt(
        fmt::format("{} bytes where {} numbers were expected: do all ranks multiply the same sizes?",
                    result.payload.size(), numbers));
  }
  return result;
}

}  // namespace laconic
