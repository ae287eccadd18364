#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/codec/qsgd_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/qsgd_kernel.h"
#include "engine/coding/bit_packing.h"

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
  const auto at = [&](std::size_t place)
                      HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(d32, values + place)); };
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

std::uint8_t CodeOf(float value, std::uint16_t draw, float factor, float levels) {
  const float exact = std::fmin(std::fabs(value) * factor, levels);
  const float below = std::floor(exact);
  const float u = (static_cast<float>(draw) + 0.5f) * 0x1p-16f;
  const float level = below + (u < exact - below ? 1.0f : 0.0f);
  return static_cast<std::uint8_t>(static_cast<int>(levels + std::copysign(level, value)));
}

// `to`: codes one a byte, or (`nibbles`) two a byte. Returns how many numbers were coded, an even number.
template <bool nibbles>
std::size_t Codes(const float* values, const std::uint16_t* draws, std::size_t count, float factor,
                  float levels, std::uint8_t* to) {
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const hn::Rebind<std::uint16_t, decltype(d)> d16;
  const std::size_t lanes = hn::Lanes(d);
  const auto multiplier = hn::Set(d, factor), most = hn::Set(d, levels), one = hn::Set(d, 1.0f),
             unit = hn::Set(d, 0x1p-16f), half = hn::Set(d, 0x1p-17f);
  for (; i + lanes <= count; i += lanes) {
    const auto z = hn::LoadU(d, values + i);
    const auto exact = hn::Min(hn::Mul(hn::Abs(z), multiplier), most);
    const auto below = hn::Floor(exact);
    const auto draw = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d16, draws + i)));
    const auto u = hn::MulAdd(draw, unit, half);
    const auto level = hn::Add(below, hn::IfThenElseZero(hn::Lt(u, hn::Sub(exact, below)), one));
    const auto code = hn::ConvertTo(di, hn::Add(most, hn::CopySign(level, z)));
    if constexpr (nibbles) {
      // Two codes of 32 bits lie in 64: the upper one moves next to the lower one.
      const hn::Repartition<std::uint64_t, decltype(d)> d64;
      const hn::Rebind<std::uint8_t, decltype(d64)> d8of64;
      const auto pair = hn::BitCast(d64, code);
      const auto both = hn::Or(pair, hn::ShiftRight<28>(pair));
      hn::StoreU(hn::TruncateTo(d8of64, both), d8of64, to + i / 2);
    } else {
      hn::StoreU(hn::DemoteTo(d8, code), d8, to + i);
    }
  }
#endif
  if constexpr (nibbles) {
    for (; i + 2 <= count; i += 2) {
      to[i / 2] = static_cast<std::uint8_t>(CodeOf(values[i], draws[i], factor, levels) |
                                            CodeOf(values[i + 1], draws[i + 1], factor, levels) << 4);
    }
    if (i < count) to[i / 2] = CodeOf(values[i], draws[i], factor, levels);
  } else {
    for (; i < count; ++i) to[i] = CodeOf(values[i], draws[i], factor, levels);
  }
  return i;
}

std::size_t CodeBytes(const float* values, const std::uint16_t* draws, std::size_t count, float factor,
                      float levels, std::uint8_t* to) {
  return Codes<false>(values, draws, count, factor, levels, to);
}
std::size_t CodeNibbles(const float* values, const std::uint16_t* draws, std::size_t count, float factor,
                        float levels, std::uint8_t* to) {
  return Codes<true>(values, draws, count, factor, levels, to);
}

void Add(const std::uint8_t* codes, std::size_t count, float scale, float levels, float* to) {
  std::size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  const std::size_t lanes = hn::Lanes(d);
  const auto s = hn::Set(d, scale), most = hn::Set(d, levels);
  for (; i + lanes <= count; i += lanes) {
    const auto code = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, codes + i)));
    // Not fused: the product is rounded, as everywhere.
    const auto value = hn::Mul(s, hn::Div(hn::Sub(code, most), most));
    hn::StoreU(hn::Add(hn::LoadU(d, to + i), value), d, to + i);
  }
#endif
  for (; i < count; ++i) {
    const float value = scale * ((static_cast<float>(codes[i]) - levels) / levels);
    to[i] += value;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(CodeBytes);
HWY_EXPORT(CodeNibbles);
HWY_EXPORT(Add);

double sum_of_squares(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquares)(values.data(), values.size());
}

void qsgd_encode(std::span<const float> values, std::span<const std::uint16_t> draws, float scale, int bits,
                 std::span<std::uint8_t> packed) {
  const std::size_t count = values.size();
  require(draws.size() == count && packed.size() == packed_bytes(count, bits), "a draw and a code a number");
  const auto levels = static_cast<float>((1 << (bits - 1)) - 1);
  // A scale so small that its inverse overflows: both grow together, which changes no level.
  std::array<float, 256> grown;
  const bool tiny = scale < 0x1p-100f;
  if (tiny) scale *= 0x1p+80f;
  const float factor = levels / scale;
  std::array<std::uint8_t, 256> codes;
  for (std::size_t i = 0; i < count; i += codes.size()) {
    const std::size_t part = std::min(codes.size(), count - i);
    const float* from = values.data() + i;
    if (tiny) {
      for (std::size_t j = 0; j < part; ++j) grown[j] = from[j] * 0x1p+80f;
      from = grown.data();
    }
    const std::size_t at = packed_bytes(i, bits);
    if (bits == 4) {
      HWY_DYNAMIC_DISPATCH(CodeNibbles)
      (from, draws.data() + i, part, factor, levels, packed.data() + at);
    } else {
      HWY_DYNAMIC_DISPATCH(CodeBytes)(from, draws.data() + i, part, factor, levels, codes.data());
      pack_bits(std::span(codes).first(part), bits, packed.subspan(at, packed_bytes(part, bits)));
    }
  }
}

void qsgd_add(std::span<const std::uint8_t> codes, float scale, int levels, std::span<float> to) {
  require(codes.size() == to.size(), "a code for each number");
  HWY_DYNAMIC_DISPATCH(Add)(codes.data(), codes.size(), scale, static_cast<float>(levels), to.data());
}
}  // namespace laconic
#endif
