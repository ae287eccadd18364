// Data compressed by the libraries themselves, in one member, frame or stream.
#pragma once

#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/base/bytes.h"
#include "engine/container/byte_source.h"

namespace laconic {

inline Bytes gzip_member(ByteSpan data) {
  Bytes coded(data.size() + data.size() / 100 + 1000);
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(coded.data());
  stream.avail_out = static_cast<uInt>(coded.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  coded.resize(stream.total_out);
  deflateEnd(&stream);
  return coded;
}

inline Bytes zstd_frame(ByteSpan data, int window_log = 0) {
  Bytes coded(ZSTD_compressBound(data.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  if (window_log > 0) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  }
  // In two goes, so that the window is as large as asked for whatever the data.
  ZSTD_inBuffer in{data.data(), data.size(), 0};
  ZSTD_outBuffer out{coded.data(), coded.size(), 0};
  if (window_log > 0) {
    EXPECT_EQ(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)), 0u);
  }
  EXPECT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  coded.resize(out.pos);
  ZSTD_freeCCtx(context);
  return coded;
}

inline Bytes xz_stream(ByteSpan data, std::uint32_t preset = 3) {
  Bytes coded(lzma_stream_buffer_bound(data.size()));
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(preset, LZMA_CHECK_CRC64, nullptr,
                                    reinterpret_cast<const std::uint8_t*>(data.data()), data.size(),
                                    reinterpret_cast<std::uint8_t*>(coded.data()), &size, coded.size()),
            LZMA_OK);
  coded.resize(size);
  return coded;
}

inline Bytes compressed(StreamFormat format, ByteSpan data) {
  switch (format) {
    case StreamFormat::gzip:
      return gzip_member(data);
    case StreamFormat::zstd:
      return zstd_frame(data);
    case StreamFormat::xz:
      return xz_stream(data);
    default:
      return {data.begin(), data.end()};
  }
}

}  // namespace laconic
