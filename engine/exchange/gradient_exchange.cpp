#include "engine/exchange/gradient_exchange.h"

#include "engine/base/error.h"
#include "engine/transport/communication_thread.h"

namespace laconic {

GradientExchange::GradientExchange(std::vector<TensorSlice> tensors, std::size_t bucket_bytes)
    : tensors_(std::move(tensors)),
      buckets_(buckets_of(tensors_, bucket_bytes)),
      size_(layout_size(tensors_)) {
  if (tensors_.empty()) fail(ErrorKind::usage, "there is no tensor to exchange");
}

void GradientExchange::restore(ByteSpan bytes, std::string_view where) {
  if (!bytes.empty()) fail(ErrorKind::usage, "holds memories, and this exchange has none", where);
}

void GradientExchange::restore_shared(ByteSpan bytes, std::string_view where) {
  if (!bytes.empty()) fail(ErrorKind::usage, "holds shared state, and this exchange has none", where);
}

GradientExchange::Timing::Timing(double& seconds) : seconds_(seconds), begin_(steady_seconds()) {}
GradientExchange::Timing::~Timing() { seconds_ += steady_seconds() - begin_; }

}  // namespace laconic
