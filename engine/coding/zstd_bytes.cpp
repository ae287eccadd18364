#include "engine/coding/zstd_bytes.h"

#include <zstd.h>

#include "engine/base/error.h"

namespace laconic {

Bytes zstd_compress(ByteSpan bytes, int level) {
  Bytes coded(ZSTD_compressBound(bytes.size()));
  const std::size_t size = ZSTD_compress(coded.data(), coded.size(), bytes.data(), bytes.size(), level);
  if (ZSTD_isError(size)) fail(ErrorKind::internal, std::string("zstd: ") + ZSTD_getErrorName(size));
  coded.resize(size);
  return coded;
}

void zstd_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  // A content size is always written; a frame without one, or with another, is not ours.
  if (ZSTD_getFrameContentSize(coded.data(), coded.size()) != bytes.size()) {
    fail(ErrorKind::corrupt, "zstd frame does not hold " + std::to_string(bytes.size()) + " bytes", where);
  }
  if (ZSTD_findFrameCompressedSize(coded.data(), coded.size()) != coded.size())
    fail(ErrorKind::corrupt, "zstd frame is damaged, or not alone", where);
  const std::size_t got = ZSTD_decompress(bytes.data(), bytes.size(), coded.data(), coded.size());
  if (ZSTD_isError(got) || got != bytes.size()) fail(ErrorKind::corrupt, "zstd frame is damaged", where);
}

}  // namespace laconic
