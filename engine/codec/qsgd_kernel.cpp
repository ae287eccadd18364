#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/codec/qsgd_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/qsgd_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

double SumOfSquares(const float* values, std::size_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d32;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
  std::size_t i = 0;
  const auto at = [&](std::size_t place) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(d32, values + place)); };
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto va = at(i), vb = at(i + lanes), vc = at(i + 2 * lanes), ve = at(i + 3 * lanes);
    a = hn::MulAdd(va, va, a);
    b = hn::MulAdd(vb, vb, b);
    c = hn::MulAdd(vc, vc, c);
    e = hn::MulAdd(ve, ve, e);
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return sum;
}

std::uint8_t CodeOf(float value, std::uint32_t word, float scale, float levels) {
  const float exact = std::fmin(std::fabs(value) / scale * levels, levels);
  const float below = std::floor(exact);
  const float draw = static_cast<float>(word >> 8) * 0x1p-24f;
  const float level = below + (draw < exact - below ? 1.0f : 0.0f);
  return static_cast<std::uint8_t>(static_cast<int>(levels + std::copysign(level, value)));
}

void Codes(const float* values, const std::uint32_t* words, std::size_t count, float scale, float levels,
           std::uint8_t* codes) {
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const std::size_t lanes = hn::Lanes(d);
  const auto divisor = hn::Set(d, scale), most = hn::Set(d, levels), one = hn::Set(d, 1.0f),
             unit = hn::Set(d, 0x1p-24f);
  for (; i + lanes <= count; i += lanes) {
    const auto z = hn::LoadU(d, values + i);
    const auto exact = hn::Min(hn::Mul(hn::Div(hn::Abs(z), divisor), most), most);
    const auto below = hn::Floor(exact);
    const auto word = hn::BitCast(di, hn::ShiftRight<8>(hn::LoadU(du, words + i)));
    const auto draw = hn::Mul(hn::ConvertTo(d, word), unit);
    const auto level = hn::Add(below, hn::IfThenElseZero(hn::Lt(draw, hn::Sub(exact, below)), one));
    const auto code = hn::ConvertTo(di, hn::Add(most, hn::CopySign(level, z)));
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
  }
#endif
  for (; i < count; ++i) codes[i] = CodeOf(values[i], words[i], scale, levels);
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(Codes);

double sum_of_squares(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquares)(values.data(), values.size());
}

void qsgd_codes(std::span<const float> values, std::span<const std::uint32_t> words, float scale, int levels,
                std::span<std::uint8_t> codes) {
  require(words.size() == values.size() && codes.size() == values.size(), "a draw and a code for each number");
  HWY_DYNAMIC_DISPATCH(Codes)
  (values.data(), words.data(), values.size(), scale, static_cast<float>(levels), codes.data());
}
}  // namespace laconic
#endif
