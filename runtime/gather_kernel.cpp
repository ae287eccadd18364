#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/gather_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "runtime/sparse_linear.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float GatherDot(const float* values, const std::int32_t* columns, std::int64_t count, const float* x) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto first = hn::GatherIndex(d, x, hn::LoadU(di, columns + i));
    const auto second = hn::GatherIndex(d, x, hn::LoadU(di, columns + i + lanes));
    even = hn::MulAdd(hn::LoadU(d, values + i), first, even);
    odd = hn::MulAdd(hn::LoadU(d, values + i + lanes), second, odd);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < count; ++i) sum += values[i] * x[columns[i]];
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(GatherDot);

float gather_dot(std::span<const float> values, const std::int32_t* columns, const float* x) {
  return HWY_DYNAMIC_DISPATCH(GatherDot)(values.data(), columns, static_cast<std::int64_t>(values.size()), x);
}

float gather_dot_scalar(std::span<const float> values, const std::int32_t* columns, const float* x) {
  float sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * x[columns[i]];
  return sum;
}
}  // namespace laconic
#endif
