#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <bit>

#include "engine/container/stream_decoder.h"

namespace laconic {
namespace {

class ZstdDecoder final : public StreamDecoder {
 public:
  explicit ZstdDecoder(std::uint64_t memory) : stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr) fail(ErrorKind::internal, "zstd did not start");
    const ZSTD_bounds bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    window_log_ =
        std::clamp(static_cast<int>(std::bit_width(memory)) - 1, bounds.lowerBound, bounds.upperBound);
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, window_log_);
  }
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;

  Step decode(ByteSpan in, std::span<std::byte> out) override {
    if (complete_ && in.empty()) return {};
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const std::size_t status = ZSTD_decompressStream(stream_, &output, &input);
    Step step;
    step.consumed = input.pos;
    step.produced = output.pos;
    complete_ = status == 0;
    if (!ZSTD_isError(status)) return step;
    if (ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge) {
      step.kind = ErrorKind::unsupported;
      step.fault = "zstd data with a window over 2^" + std::to_string(window_log_) + " bytes";
    } else {
      step.fault = std::string("damaged zstd data: ") + ZSTD_getErrorName(status);
    }
    return step;
  }

  bool complete() const override { return complete_; }

 private:
  ZSTD_DStream* stream_;
  int window_log_ = 0;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<StreamDecoder> make_zstd_decoder(std::uint64_t memory) {
  return std::make_unique<ZstdDecoder>(memory);
}

}  // namespace laconic
