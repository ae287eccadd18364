#include <lzma.h>

#include "engine/container/stream_decoder.h"

namespace laconic {
namespace {

class XzDecoder final : public StreamDecoder {
 public:
  explicit XzDecoder(std::uint64_t memory) : memory_(memory) { start(); }
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  Step decode(ByteSpan in, std::span<std::byte> out) override {
    Step step;
    if (complete_) {
      // Zeros may stand between streams.
      while (step.consumed < in.size() && in[step.consumed] == std::byte{0}) ++step.consumed;
      in = in.subspan(step.consumed);
      if (in.empty()) return step;
      start();
    }
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret status = lzma_code(&stream_, LZMA_RUN);
    step.consumed += in.size() - stream_.avail_in;
    step.produced = out.size() - stream_.avail_out;
    complete_ = status == LZMA_STREAM_END;
    explain(status, step);
    return step;
  }

  bool complete() const override { return complete_; }

 private:
  void start() {
    if (lzma_stream_decoder(&stream_, memory_, 0) != LZMA_OK)
      fail(ErrorKind::internal, "liblzma did not start");
    complete_ = false;
  }

  void explain(lzma_ret status, Step& step) const {
    switch (status) {
      case LZMA_OK:
      case LZMA_STREAM_END:
      case LZMA_BUF_ERROR:  // no progress: more input or room is needed
        return;
      case LZMA_MEMLIMIT_ERROR:
        step.kind = ErrorKind::unsupported;
        step.fault = "xz data that take " + std::to_string(lzma_memusage(&stream_) >> 20) +
                     " MiB to decompress, over the limit of " + std::to_string(memory_ >> 20);
        return;
      case LZMA_OPTIONS_ERROR:
        step.kind = ErrorKind::unsupported;
        step.fault = "xz data with options that liblzma does not know";
        return;
      case LZMA_MEM_ERROR:
        step.kind = ErrorKind::io;
        step.fault = "no memory is left for xz data";
        return;
      default:
        step.fault = status == LZMA_FORMAT_ERROR ? "bytes that are no xz stream" : "damaged xz data";
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  std::uint64_t memory_;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<StreamDecoder> make_xz_decoder(std::uint64_t memory) {
  return std::make_unique<XzDecoder>(memory);
}

}  // namespace laconic
