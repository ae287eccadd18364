// Any bytes as a stream of the slower coders of bytes. The first byte chooses the coder and what is done, the
// next two how much it should decode: they refuse, or fill exactly that.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/coding/context_mixing.h"
#include "engine/coding/lzma_bytes.h"

namespace {

using namespace laconic;

using Expand = void (*)(ByteSpan, std::span<std::byte>, std::string_view);
using Compress = Bytes (*)(ByteSpan);

Bytes lzma_of(ByteSpan bytes) { return lzma_compress(bytes, {.preset = 1, .extreme = false}); }

Bytes mixing_of(ByteSpan bytes) { return context_mixing_compress(bytes, {.memory_log2 = 16}); }

bool refused(Expand expand, ByteSpan stream, Bytes& out) {
  try {
    expand(stream, out, "fuzz");
    return false;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return true;
  }
}

// The stream as it is, whatever it decodes to.
void decode(Expand expand, ByteSpan stream, std::size_t size) {
  Bytes out(size);
  refused(expand, stream, out);
}

// There and back again; then once more with one byte of the coded form changed.
void both_ways(Compress compress, Expand expand, ByteSpan bytes) {
  Bytes coded = compress(bytes);
  Bytes back(bytes.size());
  if (refused(expand, coded, back) || back != Bytes(bytes.begin(), bytes.end())) std::abort();
  if (coded.empty() || bytes.size() < 2) return;
  coded[static_cast<std::size_t>(bytes[0]) * coded.size() / 256] ^= bytes[1];
  refused(expand, coded, back);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::size_t wanted = data[1] | std::size_t{data[2]} << 8;
  const ByteSpan stream(reinterpret_cast<const std::byte*>(data + 3), size - 3);
  switch (data[0] % 4) {
    case 0:
      decode(lzma_expand, stream, wanted);
      break;
    case 1:
      both_ways(lzma_of, lzma_expand, stream);
      break;
    case 2:
      decode(context_mixing_expand, stream, wanted % 2048);
      break;
    default:
      both_ways(mixing_of, context_mixing_expand, stream);
  }
  return 0;
}
