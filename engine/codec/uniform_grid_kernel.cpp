// Dequantisation of one row: step * (code - centre) + offset, product and sum rounded separately.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/codec/uniform_grid_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "engine/codec/uniform_grid.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Requires count codes; writes count floats.
void DequantizeGroup(const std::uint8_t* codes, std::int64_t count, float step, float offset, int centre,
                     float* weights) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto steps = hn::Set(d, step), offsets = hn::Set(d, offset);
  const auto centres = hn::Set(di, centre);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto code = hn::PromoteTo(di, hn::LoadU(d8, codes + i));
    const auto level = hn::ConvertTo(d, hn::Sub(code, centres));
    hn::StoreU(hn::Add(hn::Mul(steps, level), offsets), d, weights + i);
  }
  for (; i < count; ++i) weights[i] = step * static_cast<float>(codes[i] - centre) + offset;
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(DequantizeGroup);

void dequantize_row(const std::uint8_t* codes, const GridParameters& parameters, std::int64_t row,
                    float* weights) {
  const std::int64_t width = parameters.form.group_columns(parameters.columns);
  for (std::int64_t g = 0; g < parameters.groups; ++g) {
    const std::size_t index = parameters.at(row, g);
    const std::int64_t first = g * width, count = std::min(width, parameters.columns - first);
    HWY_DYNAMIC_DISPATCH(DequantizeGroup)
    (codes + first, count, parameters.step[index], parameters.offset[index], parameters.centre[index],
     weights + first);
  }
}
}  // namespace laconic
#endif
