#include "engine/column/byte_kernel.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/coding/context_mixing.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {

Bytes kernel_compress(const ByteKernel& kernel, ByteSpan bytes) {
  switch (kernel.coder) {
    case ByteCoder::zstd:
      return zstd_compress(bytes, kernel.zstd_level);
    case ByteCoder::lzma:
      return lzma_compress(bytes, kernel.lzma);
    case ByteCoder::context_mixing:
      return context_mixing_compress(bytes);
    case ByteCoder::rans:
      return rans_compress(bytes);
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
      context_mixing_expand(coded, bytes, where);
      return;
    case ByteCoder::rans:
      rans_expand(coded, bytes, where);
      return;
    default:
      if (coded.size() != bytes.size()) fail(ErrorKind::corrupt, "stored bytes have another length", where);
      std::copy(coded.begin(), coded.end(), bytes.begin());
  }
}

}  // namespace laconic
