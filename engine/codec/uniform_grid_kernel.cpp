// One group of a row: values to codes, codes to values. Every operation is rounded on its own, as in the
// scalar forms (GridParameters::value and nearest_code).
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

// Requires step != 0 and a rounding other than stochastic; writes count codes. low and high are relative to
// the centre.
void QuantizeGroup(const float* weights, std::int64_t count, float step, float offset, int centre, float low,
                   float high, Rounding rounding, std::uint8_t* codes) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto steps = hn::Set(d, step), offsets = hn::Set(d, offset), half = hn::Set(d, 0.5f);
  const auto lows = hn::Set(d, low), highs = hn::Set(d, high);
  const auto centres = hn::Set(di, centre);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto exact = hn::Div(hn::Sub(hn::LoadU(d, weights + i), offsets), steps);
    switch (rounding) {
      case Rounding::half_up:
        exact = hn::Floor(hn::Add(exact, half));
        break;
      case Rounding::truncate:
        exact = hn::Trunc(exact);
        break;
      default:
        exact = hn::Round(exact);
        break;
    }
    const auto level = hn::ConvertTo(di, hn::Min(hn::Max(exact, lows), highs));
    hn::StoreU(hn::DemoteTo(d8, hn::Add(level, centres)), d8, codes + i);
  }
  for (; i < count; ++i) {
    const float exact = (weights[i] - offset) / step;
    const float level = std::clamp(round_value(exact, rounding), low, high);
    codes[i] = static_cast<std::uint8_t>(static_cast<int>(level) + centre);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(DequantizeGroup);
HWY_EXPORT(QuantizeGroup);

void quantize_group(std::span<const float> weights, const GridParameters& parameters, std::size_t index,
                    Rounding rounding, std::uint8_t* codes) {
  const int centre = parameters.centre[index];
  if (parameters.step[index] == 0) {
    std::fill_n(codes, weights.size(), static_cast<std::uint8_t>(centre));
    return;
  }
  HWY_DYNAMIC_DISPATCH(QuantizeGroup)
  (weights.data(), static_cast<std::int64_t>(weights.size()), parameters.step[index],
   parameters.offset[index], centre, static_cast<float>(parameters.form.lowest_code() - centre),
   static_cast<float>(parameters.form.highest_code() - centre), rounding, codes);
}

void dequantize_group(std::span<const std::uint8_t> codes, const GridParameters& parameters,
                      std::size_t index, float* weights) {
  HWY_DYNAMIC_DISPATCH(DequantizeGroup)
  (codes.data(), static_cast<std::int64_t>(codes.size()), parameters.step[index], parameters.offset[index],
   parameters.centre[index], weights);
}

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
