// The message of one sub-chunk: u32 chunk, u32 sub-chunk (little-endian), then its numbers as f32, or what a
// codec makes of them.
#pragma once

#include <functional>
#include <span>

#include "engine/base/bytes.h"
#include "engine/overlap/chunk_layout.h"

namespace laconic {

constexpr std::size_t sub_chunk_header_bytes = 8;

// Applied to each sub-chunk where it is sent and received; both empty: f32 as it is. `decode` writes every
// number and throws Error(corrupt) for bytes that are not of so many.
struct SubChunkCodec {
  std::function<Bytes(std::span<const float> numbers)> encode;
  std::function<void(ByteSpan bytes, std::span<float> numbers)> decode;
  explicit operator bool() const { return encode && decode; }
};

void write_sub_chunk_header(int chunk, int sub, std::span<std::byte> frame);

struct SubChunkFrame {
  int chunk = 0, sub = 0;
  ByteSpan payload;
};
// Error(corrupt) for a frame that is too short, names what the layout does not have, or (`plain`) has another
// length than the sub-chunk's numbers. `where` names the sender.
SubChunkFrame read_sub_chunk_frame(ByteSpan frame, const ChunkLayout& layout, bool plain,
                                   const std::string& where);

}  // namespace laconic
