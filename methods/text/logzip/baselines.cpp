#include "methods/text/logzip/baselines.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "engine/base/child_process.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"

namespace laconic::logzip {

std::uint64_t gzip_bytes(std::string_view text) {
  z_stream stream{};
  require(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib starts");
  Bytes out(std::size_t{1} << 20);
  std::uint64_t total = 0;
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    // zlib counts its input in 32 bits.
    const std::size_t piece = std::min<std::size_t>(text.size(), std::size_t{1} << 30);
    if (stream.avail_in == 0) {
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
      stream.avail_in = static_cast<uInt>(piece);
      text.remove_prefix(piece);
    }
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    state = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
    total += out.size() - stream.avail_out;
    if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) break;
  }
  deflateEnd(&stream);
  require(state == Z_STREAM_END, "zlib compresses");
  return total;
}

std::uint64_t xz_bytes(std::string_view text) {
  Bytes out(lzma_stream_buffer_bound(text.size()));
  std::size_t size = 0;
  const lzma_ret state = lzma_easy_buffer_encode(
      9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(text.data()),
      text.size(), reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size());
  require(state == LZMA_OK, "liblzma compresses");
  return size;
}

std::uint64_t zstd_bytes(std::string_view text) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 19);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_enableLongDistanceMatching, 1);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  Bytes out(ZSTD_compressBound(text.size()));
  const std::size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  require(ZSTD_isError(size) == 0, "libzstd compresses");
  return size;
}

std::optional<std::uint64_t> bzip2_bytes(std::string_view text) {
  const ScratchFolder folder("bzip2");
  const auto path = folder.path() / "text";
  write_file(path, text);
  try {
    output_of({"bzip2", "-9", path.string()});
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::unsupported) return std::nullopt;
    throw;
  }
  return std::filesystem::file_size(path.string() + ".bz2");
}

}  // namespace laconic::logzip
