#include "engine/exchange/dense_exchange.h"

#include <algorithm>

#include "engine/base/finite.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

class DenseExchange : public GradientExchange {
 public:
  DenseExchange(std::vector<TensorSlice> tensors, DenseForm form, std::size_t bucket_bytes)
      : GradientExchange(std::move(tensors), bucket_bytes), form_(form) {}

  std::string text() const override { return form_ == DenseForm::f32 ? "dense f32" : "dense bf16"; }

  // A sum with a number that is not finite is not finite: every rank sees it in the result.
  bool exchange(Communicator& communicator, std::uint64_t, std::size_t index, std::span<const float> own,
                std::span<float> agreed) override {
    const Bucket& bucket = buckets()[index];
    const std::span<const float> input = own.subspan(bucket.offset, bucket.size);
    const std::span<float> sum = agreed.subspan(bucket.offset, bucket.size);
    if (input.data() != sum.data()) std::copy(input.begin(), input.end(), sum.begin());
    if (form_ == DenseForm::f32) {
      all_reduce_sum(communicator, sum);
    } else {
      all_reduce_sum_bf16(communicator, sum);
    }
    const auto ranks = static_cast<float>(communicator.size());
    for (float& value : sum) value /= ranks;
    return all_finite(std::span<const float>(sum));
  }

 private:
  DenseForm form_;
};

}  // namespace

std::unique_ptr<GradientExchange> dense_exchange(std::vector<TensorSlice> tensors, DenseForm form,
                                                 std::size_t bucket_bytes) {
  return std::make_unique<DenseExchange>(std::move(tensors), form, bucket_bytes);
}

}  // namespace laconic
