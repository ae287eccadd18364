// Signs to bits and back, 16 numbers a turn: the compare's mask is the packed byte, and products of two f32
// are exact in f64, so that fused and separate additions give the same sums.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/coding/sign_bits_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "engine/coding/sign_bits_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE
// Arrays of vectors need a known width: the callers' scalar loops do all the work.
std::size_t PackSigns(const float*, const float*, float*, std::size_t, SignSum, std::uint8_t*, double*) {
  return 0;
}
std::size_t UnpackSigns(const std::uint8_t*, float, std::size_t, float*) { return 0; }
std::size_t AddSigns(const std::uint8_t*, float, std::size_t, float*) { return 0; }
#else
using FloatTag = hn::CappedTag<float, sign_lanes>;
constexpr std::size_t float_lanes = hn::MaxLanes(FloatTag());
using HalfTag = hn::Half<FloatTag>;
using DoubleTag = hn::Repartition<double, FloatTag>;
constexpr std::size_t vectors = sign_lanes / float_lanes;
static_assert(float_lanes >= 4 && vectors * float_lanes == sign_lanes);

template <SignSum kind, class Vector>
HWY_INLINE Vector Accumulate(Vector x, Vector sum) {
  if constexpr (kind == SignSum::squares) return hn::MulAdd(x, x, sum);
  return hn::Add(hn::Abs(x), sum);
}

template <bool adds, SignSum kind>
std::size_t PackLoop(const float* values, const float* addend, float* total, std::size_t count,
                     std::uint8_t* HWY_RESTRICT bits, double* HWY_RESTRICT lanes) {
  const FloatTag d;
  const HalfTag half;
  const DoubleTag wide;
  const auto zero = hn::Zero(d);
  hn::Vec<DoubleTag> sums[2 * vectors];
  for (std::size_t k = 0; k < 2 * vectors; ++k) sums[k] = hn::LoadU(wide, lanes + k * float_lanes / 2);
  std::size_t i = 0;
  for (; i + sign_lanes <= count; i += sign_lanes) {
    std::uint8_t packed[8] = {};
    for (std::size_t k = 0; k < vectors; ++k) {
      auto x = hn::LoadU(d, values + i + k * float_lanes);
      if constexpr (adds) {
        x = hn::Add(x, hn::LoadU(d, addend + i + k * float_lanes));
        hn::StoreU(x, d, total + i + k * float_lanes);
      }
      const auto is_positive = hn::Ge(x, zero);
      if constexpr (float_lanes >= 8) {
        hn::StoreMaskBits(d, is_positive, packed + k * float_lanes / 8);
      } else {
        std::uint8_t nibble[8] = {};
        hn::StoreMaskBits(d, is_positive, nibble);
        packed[k / 2] = static_cast<std::uint8_t>(packed[k / 2] | nibble[0] << k % 2 * 4);
      }
      const auto low = hn::PromoteTo(wide, hn::LowerHalf(half, x));
      const auto high = hn::PromoteTo(wide, hn::UpperHalf(half, x));
      sums[2 * k] = Accumulate<kind>(low, sums[2 * k]);
      sums[2 * k + 1] = Accumulate<kind>(high, sums[2 * k + 1]);
    }
    std::memcpy(bits + i / 8, packed, sign_lanes / 8);
  }
  for (std::size_t k = 0; k < 2 * vectors; ++k) hn::StoreU(sums[k], wide, lanes + k * float_lanes / 2);
  return i;
}

std::size_t PackSigns(const float* values, const float* addend, float* total, std::size_t count, SignSum kind,
                      std::uint8_t* bits, double* lanes) {
  if (addend == nullptr) {
    return kind == SignSum::squares
               ? PackLoop<false, SignSum::squares>(values, addend, total, count, bits, lanes)
               : PackLoop<false, SignSum::magnitudes>(values, addend, total, count, bits, lanes);
  }
  return kind == SignSum::squares
             ? PackLoop<true, SignSum::squares>(values, addend, total, count, bits, lanes)
             : PackLoop<true, SignSum::magnitudes>(values, addend, total, count, bits, lanes);
}

template <bool adds>
std::size_t UnpackLoop(const std::uint8_t* HWY_RESTRICT bits, float scale, std::size_t count,
                       float* HWY_RESTRICT values) {
  const FloatTag d;
  const hn::Repartition<std::uint32_t, FloatTag> words;
  alignas(64) static constexpr std::uint32_t powers[sign_lanes] = {
      1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  const auto test = hn::Load(words, powers);
  const auto positive = hn::Set(d, scale), negative = hn::Set(d, -scale);
  std::size_t i = 0;
  for (; i + sign_lanes <= count; i += sign_lanes) {
    const auto packed = static_cast<std::uint32_t>(bits[i / 8] | bits[i / 8 + 1] << 8);
    for (std::size_t k = 0; k < vectors; ++k) {
      const auto own = hn::And(hn::Set(words, packed >> k * float_lanes), test);
      const auto is_positive = hn::RebindMask(d, hn::Eq(own, test));
      auto x = hn::IfThenElse(is_positive, positive, negative);
      if constexpr (adds) x = hn::Add(hn::LoadU(d, values + i + k * float_lanes), x);
      hn::StoreU(x, d, values + i + k * float_lanes);
    }
  }
  return i;
}

std::size_t UnpackSigns(const std::uint8_t* bits, float scale, std::size_t count, float* values) {
  return UnpackLoop<false>(bits, scale, count, values);
}
std::size_t AddSigns(const std::uint8_t* bits, float scale, std::size_t count, float* values) {
  return UnpackLoop<true>(bits, scale, count, values);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(PackSigns);
HWY_EXPORT(UnpackSigns);
HWY_EXPORT(AddSigns);

std::size_t pack_signs_vector(const float* values, const float* addend, float* total, std::size_t count,
                              SignSum kind, std::uint8_t* bits, double* lanes) {
  return HWY_DYNAMIC_DISPATCH(PackSigns)(values, addend, total, count, kind, bits, lanes);
}
std::size_t unpack_signs_vector(const std::uint8_t* bits, float scale, std::size_t count, float* values) {
  return HWY_DYNAMIC_DISPATCH(UnpackSigns)(bits, scale, count, values);
}
std::size_t add_signs_vector(const std::uint8_t* bits, float scale, std::size_t count, float* values) {
  return HWY_DYNAMIC_DISPATCH(AddSigns)(bits, scale, count, values);
}
}  // namespace laconic
#endif
