// Vector forms of the half-precision conversions. NaN payloads go through the scalar path so that both forms
// give the same bits.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/tensor/dtype_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Requires: dtype is f16 or bf16.
void ToF32(DType dtype, const std::byte* from, std::span<float> to) {
  const hn::ScalableTag<float> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint16_t, decltype(df)> d16;
  const hn::RebindToUnsigned<decltype(df)> du;
  const std::size_t lanes = hn::Lanes(df);
  std::size_t i = 0;
  const auto* words = reinterpret_cast<const std::uint16_t*>(from);
  if (dtype == DType::bf16) {
    for (; i + lanes <= to.size(); i += lanes) {
      const auto wide = hn::PromoteTo(du, hn::LoadU(d16, words + i));
      hn::StoreU(hn::BitCast(df, hn::ShiftLeft<16>(wide)), df, to.data() + i);
    }
  } else {
    // Exponent and mantissa are moved into place; multiplying by 2^112 re-biases and makes subnormals exact.
    const auto magic = hn::Set(df, 0x1p112f);
    const auto infinity = hn::Set(du, 0x7F800000u);
    for (; i + lanes <= to.size(); i += lanes) {
      const auto wide = hn::PromoteTo(du, hn::LoadU(d16, words + i));
      const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000u)));
      const auto body = hn::ShiftLeft<13>(hn::And(wide, hn::Set(du, 0x7FFFu)));
      const auto scaled = hn::BitCast(du, hn::Mul(hn::BitCast(df, body), magic));
      const auto special = hn::Gt(hn::BitCast(di, body), hn::Set(di, 0x0F7FFFFF));
      const auto fixed = hn::IfThenElse(hn::RebindMask(du, special), hn::Or(body, infinity), scaled);
      hn::StoreU(hn::BitCast(df, hn::Or(fixed, sign)), df, to.data() + i);
    }
  }
  convert_to_f32_scalar(dtype, from + 2 * i, to.subspan(i));
}

// Requires: dtype is f16 or bf16.
void FromF32(std::span<const float> from, DType dtype, std::byte* to) {
  const hn::ScalableTag<float> df;
  const hn::RebindToUnsigned<decltype(df)> du;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint16_t, decltype(df)> d16;
  const std::size_t lanes = hn::Lanes(df);
  auto* words = reinterpret_cast<std::uint16_t*>(to);
  const auto one = hn::Set(du, 1u);
  std::size_t i = 0;
  for (; i + lanes <= from.size(); i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(df, from.data() + i));
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
    const auto unusual = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7F800000));
    if (!hn::AllFalse(di, unusual)) {
      convert_from_f32_scalar(from.subspan(i, lanes), dtype, to + 2 * i);
      continue;
    }
    if (dtype == DType::bf16) {
      const auto odd = hn::And(hn::ShiftRight<16>(bits), one);
      const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu))));
      hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, rounded)), d16, words + i);
      continue;
    }
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000u));
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), one);
    const auto normal = hn::ShiftRight<13>(
        hn::Sub(hn::Add(magnitude, hn::Add(odd, hn::Set(du, 0xFFFu))), hn::Set(du, 0x38000000u)));
    const auto shifted = hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f));
    const auto subnormal = hn::Sub(hn::BitCast(du, shifted), hn::Set(du, 0x3F000000u));
    const auto is_small = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, 0x38800000));
    const auto is_large = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x477FEFFF));
    auto half = hn::IfThenElse(hn::RebindMask(du, is_small), subnormal, normal);
    half = hn::IfThenElse(hn::RebindMask(du, is_large), hn::Set(du, 0x7C00u), half);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, hn::Or(half, sign))), d16, words + i);
  }
  convert_from_f32_scalar(from.subspan(i), dtype, to + 2 * i);
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(ToF32);
HWY_EXPORT(FromF32);

void convert_to_f32(DType dtype, const std::byte* from, std::span<float> to) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(from) % 2 == 0;
  if ((dtype == DType::f16 || dtype == DType::bf16) && aligned) {
    HWY_DYNAMIC_DISPATCH(ToF32)(dtype, from, to);
  } else {
    convert_to_f32_scalar(dtype, from, to);
  }
}

void convert_from_f32(std::span<const float> from, DType dtype, std::byte* to) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(to) % 2 == 0;
  if ((dtype == DType::f16 || dtype == DType::bf16) && aligned) {
    HWY_DYNAMIC_DISPATCH(FromF32)(from, dtype, to);
  } else {
    convert_from_f32_scalar(from, dtype, to);
  }
}
}  // namespace laconic
#endif
