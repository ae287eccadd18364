// The inner loops of context mixing with vectors of 32-bit integers.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/coding/mixing_weights_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/coding/mixing_weights.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using MixingTag = hn::CappedTag<std::int32_t, mixing_lanes>;

void MixingSum(const std::int32_t* HWY_RESTRICT inputs, const std::int32_t* const* weights, std::size_t sets,
               std::size_t count, std::int32_t* HWY_RESTRICT sums) {
  const MixingTag d;
  for (std::size_t s = 0; s < sets; ++s) {
    const std::int32_t* HWY_RESTRICT set = weights[s];
    auto sum = hn::Zero(d);
    for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
      sum = hn::Add(sum, hn::ShiftRight<8>(hn::Mul(hn::LoadU(d, inputs + i), hn::LoadU(d, set + i))));
    }
    sums[s] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

void MixingLearn(const std::int32_t* HWY_RESTRICT inputs, std::int32_t* const* weights, std::size_t sets,
                 std::size_t count, const std::int32_t* HWY_RESTRICT steps) {
  const MixingTag d;
  const auto half = hn::Set(d, 1 << 13);
  const auto most = hn::Set(d, mixing_weight_limit);
  const auto least = hn::Set(d, -mixing_weight_limit);
  for (std::size_t s = 0; s < sets; ++s) {
    std::int32_t* HWY_RESTRICT set = weights[s];
    const auto step = hn::Set(d, steps[s]);
    for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
      const auto moves = hn::ShiftRight<14>(hn::Add(hn::Mul(hn::LoadU(d, inputs + i), step), half));
      const auto moved = hn::Add(hn::LoadU(d, set + i), moves);
      hn::StoreU(hn::Max(hn::Min(moved, most), least), d, set + i);
    }
  }
}

MixingWeightsKernel MixingLoops() { return {MixingSum, MixingLearn}; }

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {

HWY_EXPORT(MixingLoops);

MixingWeightsKernel mixing_weights_vector() { return HWY_DYNAMIC_DISPATCH(MixingLoops)(); }

}  // namespace laconic
#endif
