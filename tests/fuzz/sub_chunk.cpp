// Any bytes as the message of a sub-chunk: refused as corrupt, or of a sub-chunk that the layout has, with
// its numbers.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/overlap/sub_chunk_frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace laconic;
  static const ChunkLayout layout = [] {
    LayoutOptions options;
    options.tile = {1, 32};
    options.sub_chunks = 2;
    return ChunkLayout(7, 3, 3, options);
  }();
  const ByteSpan bytes{reinterpret_cast<const std::byte*>(data), size};
  for (const bool plain : {true, false}) {
    try {
      const SubChunkFrame frame = read_sub_chunk_frame(bytes, layout, plain, "fuzz");
      if (frame.payload.size() != size - sub_chunk_header_bytes) std::abort();
      const auto numbers = static_cast<std::size_t>(layout.sub_chunk(frame.chunk, frame.sub).numbers);
      if (plain && frame.payload.size() != numbers * sizeof(float)) std::abort();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) std::abort();
    }
  }
  return 0;
}
