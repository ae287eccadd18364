#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/math/vector_sum_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/math/vector_sum.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void VectorSum(const float* first, const float* second, std::int64_t size, float* out) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= size; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, first + i), hn::LoadU(d, second + i)), d, out + i);
  for (; i < size; ++i) out[i] = first[i] + second[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(VectorSum);
void vector_sum(const float* first, const float* second, std::int64_t size, float* out) {
  HWY_DYNAMIC_DISPATCH(VectorSum)(first, second, size, out);
}
}  // namespace laconic
#endif
