#include <zlib.h>

#include <algorithm>
#include <limits>

#include "engine/container/stream_decoder.h"

namespace laconic {
namespace {

class GzipDecoder final : public StreamDecoder {
 public:
  GzipDecoder() {
    // 15: the largest window; 16 on top: members of gzip.
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) fail(ErrorKind::internal, "zlib did not start");
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  Step decode(ByteSpan in, std::span<std::byte> out) override {
    Step step;
    if (complete_) {
      // Zeros may follow a member.
      while (step.consumed < in.size() && in[step.consumed] == std::byte{0}) ++step.consumed;
      in = in.subspan(step.consumed);
      if (in.empty()) return step;
      if (inflateReset(&stream_) != Z_OK) fail(ErrorKind::internal, "zlib did not start again");
      complete_ = false;
    }
    constexpr std::size_t most = std::numeric_limits<uInt>::max();
    const auto in_size = static_cast<uInt>(std::min(in.size(), most));
    const auto out_size = static_cast<uInt>(std::min(out.size(), most));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
    stream_.avail_in = in_size;
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = out_size;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    step.consumed += in_size - stream_.avail_in;
    step.produced = out_size - stream_.avail_out;
    complete_ = status == Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      step.fault =
          stream_.msg != nullptr ? std::string("damaged gzip data: ") + stream_.msg : "damaged gzip data";
    }
    return step;
  }

  bool complete() const override { return complete_; }

 private:
  z_stream stream_{};
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<StreamDecoder> make_gzip_decoder() { return std::make_unique<GzipDecoder>(); }

}  // namespace laconic
