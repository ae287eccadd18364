#include "engine/column/byte_kernel.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/coding/zstd_bytes.h"
#if __has_include("engine/coding/context_mixing.h")
#define LACONIC_HAS_CONTEXT_MIXING 1
#include "engine/coding/context_mixing.h"
#else
#define LACONIC_HAS_CONTEXT_MIXING 0
#endif

namespace laconic {
namespace {

[[noreturn]] void refuse_coder(std::string_view where) {
  fail(ErrorKind::unsupported, "this build has no context mixing", where, "use a newer version");
}

}  // namespace

bool has_byte_coder(ByteCoder coder) {
  return coder != ByteCoder::context_mixing || LACONIC_HAS_CONTEXT_MIXING == 1;
}

Bytes kernel_compress(const ByteKernel& kernel, ByteSpan bytes) {
  switch (kernel.coder) {
    case ByteCoder::zstd:
      return zstd_compress(bytes, kernel.zstd_level);
    case ByteCoder::lzma:
      return lzma_compress(bytes, kernel.lzma);
    case ByteCoder::context_mixing:
#if LACONIC_HAS_CONTEXT_MIXING
      return context_mixing_compress(bytes);
#else
      refuse_coder({});
#endif
    default:
      return {bytes.begin(), bytes.end()};
  }
}

void kernel_expand(ByteCoder coder, ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  switch (coder) {
    case ByteCoder::zstd:
      zstd_expand(coded, bytes, where);
      return;
    case ByteCoder::lzma:
      lzma_expand(coded, bytes, where);
      return;
    case ByteCoder::context_mixing:
#if LACONIC_HAS_CONTEXT_MIXING
      context_mixing_expand(coded, bytes, where);
      return;
#else
      refuse_coder(where);
#endif
    default:
      if (coded.size() != bytes.size()) fail(ErrorKind::corrupt, "stored bytes have another length", where);
      std::copy(coded.begin(), coded.end(), bytes.begin());
  }
}

}  // namespace laconic
