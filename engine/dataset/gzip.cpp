#include "engine/dataset/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

// Gives zlib's memory back whatever happens.
struct Inflater {
  z_stream stream{};
  explicit Inflater(std::string_view where) {
    // 15: the largest window; 16 on top: a gzip frame.
    if (inflateInit2(&stream, 15 + 16) != Z_OK) fail(ErrorKind::internal, "zlib did not start", where);
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

bool is_gzip(ByteSpan bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

}  // namespace

Bytes decompress_gzip(ByteSpan bytes, std::size_t limit, std::string_view where) {
  Inflater inflater(where);
  z_stream& stream = inflater.stream;
  Bytes result;
  constexpr std::size_t piece = std::size_t{1} << 20;
  std::size_t read = 0, written = 0;
  for (;;) {
    if (written == result.size()) {
      if (written > limit)
        fail(ErrorKind::input, "the data are larger than " + std::to_string(limit) + " bytes", where);
      result.resize(written + std::max(piece, written / 2));
    }
    const std::size_t in = std::min<std::size_t>(bytes.size() - read, std::size_t{1} << 30);
    const std::size_t out = std::min<std::size_t>(result.size() - written, std::size_t{1} << 30);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data() + read));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(result.data() + written);
    stream.avail_out = static_cast<uInt>(out);
    const int status = inflate(&stream, Z_NO_FLUSH);
    const std::size_t consumed = in - stream.avail_in, produced = out - stream.avail_out;
    read += consumed;
    written += produced;
    if (status == Z_STREAM_END) {
      if (!is_gzip(bytes.subspan(read))) break;  // zeros may follow the last member
      if (inflateReset(&stream) != Z_OK) fail(ErrorKind::internal, "zlib did not start again", where);
      continue;
    }
    if (status == Z_OK && consumed + produced > 0) continue;
    if (status == Z_BUF_ERROR && written == result.size()) continue;  // there is no room
    fail(ErrorKind::corrupt, "damaged or cut gzip data", where, "copy the file again");
  }
  if (written > limit)
    fail(ErrorKind::input, "the data are larger than " + std::to_string(limit) + " bytes", where);
  result.resize(written);
  return result;
}

Bytes read_plain_or_gzip(const std::filesystem::path& path, std::size_t limit) {
  Bytes bytes = read_file(path, limit);
  return is_gzip(bytes) ? decompress_gzip(bytes, limit, path.string()) : bytes;
}

}  // namespace laconic
