#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/transport/tcp/block_quantizer_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/transport/tcp/block_quantizer_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

BlockRange RangeOf(std::span<const float> values) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const std::size_t lanes = hn::Lanes(d);
  const float* data = values.data();
  std::size_t i = 0;
  BlockRange range{data[0], data[0], true};
  if (values.size() >= lanes) {
    auto least = hn::LoadU(d, data), greatest = least;
    // An exponent of ones, plus one at its lowest place, carries into the cleared sign.
    const auto exponent = hn::Set(du, 0x7F800000u), one = hn::Set(du, 0x00800000u);
    auto carry = hn::Zero(du);
    for (; i + lanes <= values.size(); i += lanes) {
      const auto v = hn::LoadU(d, data + i);
      least = hn::Min(least, v);
      greatest = hn::Max(greatest, v);
      carry = hn::Or(carry, hn::Add(hn::And(hn::BitCast(du, v), exponent), one));
    }
    const hn::RebindToSigned<decltype(d)> di;
    const auto negative = hn::Lt(hn::BitCast(di, carry), hn::Zero(di));
    if (!hn::AllFalse(di, negative)) return {0, 0, false};
    range.least = hn::GetLane(hn::MinOfLanes(d, least));
    range.greatest = hn::GetLane(hn::MaxOfLanes(d, greatest));
  }
  if (i < values.size()) {
    const BlockRange rest = range_of_scalar(values.subspan(i));
    range.finite = rest.finite;
    range.least = std::min(range.least, rest.least);
    range.greatest = std::max(range.greatest, rest.greatest);
  }
  return range;
}

template <class Code>
std::size_t EncodeLoop(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                       const std::uint32_t* draws, Code* codes) {
#if HWY_TARGET == HWY_SCALAR
  (void)values, (void)grid, (void)rounding, (void)draws, (void)codes;
  return 0;
#else
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<Code, decltype(d)> dc;
  const std::size_t lanes = hn::Lanes(d);
  const auto shift = hn::Set(d, grid.shift), factor = hn::Set(d, grid.factor),
             offset = hn::Set(d, grid.offset);
  const auto zero = hn::Zero(d), limit = hn::Set(d, static_cast<float>(grid.limit));
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    auto v = hn::Add(hn::Mul(hn::Sub(hn::LoadU(d, values.data() + i), shift), factor), offset);
    if (rounding == CodeRounding::add_draw) {
      const auto draw = hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<8>(hn::LoadU(du, draws + i))));
      v = hn::Floor(hn::Add(v, hn::Mul(draw, hn::Set(d, 0x1p-24f))));
    }
    v = hn::Min(hn::Max(v, zero), limit);
    const auto code = rounding == CodeRounding::nearest_even ? hn::NearestInt(v) : hn::ConvertTo(di, v);
    hn::StoreU(hn::DemoteTo(dc, code), dc, codes + i);
  }
  return i;
#endif
}

std::size_t EncodeCodes(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                        const std::uint32_t* draws, std::byte* codes) {
  if (grid.limit <= 255)
    return EncodeLoop(values, grid, rounding, draws, reinterpret_cast<std::uint8_t*>(codes));
  return EncodeLoop(values, grid, rounding, draws, reinterpret_cast<std::uint16_t*>(codes));
}

template <class Code>
std::size_t DecodeLoop(const Code* codes, float zero, float step, float start, std::span<float> values) {
#if HWY_TARGET == HWY_SCALAR
  (void)codes, (void)zero, (void)step, (void)start, (void)values;
  return 0;
#else
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<Code, decltype(d)> dc;
  const std::size_t lanes = hn::Lanes(d);
  const auto zeros = hn::Set(d, zero), steps = hn::Set(d, step), starts = hn::Set(d, start);
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes) {
    const auto code = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(dc, codes + i)));
    hn::StoreU(hn::Add(hn::Mul(hn::Sub(code, zeros), steps), starts), d, values.data() + i);
  }
  return i;
#endif
}

std::size_t DecodeCodes(const std::byte* codes, int limit, float zero, float step, float start,
                        std::span<float> values) {
  if (limit <= 255)
    return DecodeLoop(reinterpret_cast<const std::uint8_t*>(codes), zero, step, start, values);
  return DecodeLoop(reinterpret_cast<const std::uint16_t*>(codes), zero, step, start, values);
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
namespace {

std::size_t code_bytes(int limit) { return limit <= 255 ? 1 : 2; }

}  // namespace

HWY_EXPORT(RangeOf);
HWY_EXPORT(EncodeCodes);
HWY_EXPORT(DecodeCodes);

BlockRange range_of(std::span<const float> values) { return HWY_DYNAMIC_DISPATCH(RangeOf)(values); }

BlockRange range_of_scalar(std::span<const float> values) {
  BlockRange range{values[0], values[0], true};
  for (const float value : values) {
    range.finite = range.finite && std::isfinite(value);
    range.least = std::min(range.least, value);
    range.greatest = std::max(range.greatest, value);
  }
  return range;
}

void encode_codes(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                  const std::uint32_t* draws, std::byte* codes) {
  const std::size_t done = HWY_DYNAMIC_DISPATCH(EncodeCodes)(values, grid, rounding, draws, codes);
  encode_codes_scalar(values.subspan(done), grid, rounding, draws == nullptr ? nullptr : draws + done,
                      codes + done * code_bytes(grid.limit));
}

void encode_codes_scalar(std::span<const float> values, const CodeGrid& grid, CodeRounding rounding,
                         const std::uint32_t* draws, std::byte* codes) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    float v = (values[i] - grid.shift) * grid.factor + grid.offset;
    if (rounding == CodeRounding::add_draw) v = std::floor(v + static_cast<float>(draws[i] >> 8) * 0x1p-24f);
    v = std::min(std::max(v, 0.0f), static_cast<float>(grid.limit));
    const auto code = static_cast<std::uint16_t>(rounding == CodeRounding::nearest_even ? std::nearbyint(v)
                                                                                        : std::trunc(v));
    std::memcpy(codes + i * code_bytes(grid.limit), &code, code_bytes(grid.limit));
  }
}

void decode_codes(const std::byte* codes, int limit, float zero, float step, float start,
                  std::span<float> values) {
  const std::size_t done = HWY_DYNAMIC_DISPATCH(DecodeCodes)(codes, limit, zero, step, start, values);
  decode_codes_scalar(codes + done * code_bytes(limit), limit, zero, step, start, values.subspan(done));
}

void decode_codes_scalar(const std::byte* codes, int limit, float zero, float step, float start,
                         std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t code = 0;
    std::memcpy(&code, codes + i * code_bytes(limit), code_bytes(limit));
    values[i] = (static_cast<float>(code) - zero) * step + start;
  }
}

}  // namespace laconic
#endif
