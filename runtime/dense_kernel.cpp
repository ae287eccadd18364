#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/dense_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "runtime/dense_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 8 lanes, so that at least 4 of the 32 chains' vectors stand in registers on every target.
using Floats = hn::CappedTag<float, 8>;

template <DType dtype>
struct Rows;

template <>
struct Rows<DType::f32> {
  using Stored = float;
  static HWY_INLINE hn::Vec<Floats> load(Floats d, const float* from) { return hn::LoadU(d, from); }
  static float one(float value) { return value; }
};
template <>
struct Rows<DType::bf16> {
  using Stored = std::uint16_t;
  static HWY_INLINE hn::Vec<Floats> load(Floats d, const std::uint16_t* from) {
    const hn::Rebind<std::uint16_t, Floats> d16;
    const hn::RebindToUnsigned<Floats> du;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, from))));
  }
  static float one(std::uint16_t value) { return bf16_to_f32(value); }
};
template <>
struct Rows<DType::f16> {
  using Stored = std::uint16_t;
  // Weights are finite, so infinities need no path: exponent and mantissa move into place, 2^112 re-biases.
  static HWY_INLINE hn::Vec<Floats> load(Floats d, const std::uint16_t* from) {
    const hn::Rebind<std::uint16_t, Floats> d16;
    const hn::RebindToUnsigned<Floats> du;
    const auto wide = hn::PromoteTo(du, hn::LoadU(d16, from));
    const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000u)));
    const auto body = hn::ShiftLeft<13>(hn::And(wide, hn::Set(du, 0x7FFFu)));
    const auto value = hn::Mul(hn::BitCast(d, body), hn::Set(d, 0x1p112f));
    return hn::BitCast(d, hn::Or(hn::BitCast(du, value), sign));
  }
  static float one(std::uint16_t value) { return f16_to_f32(value); }
};

HWY_INLINE float SumOfChains(float* chains) {
  for (int width = 16; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) chains[i] += chains[i + width];
  }
  return chains[0];
}

// One weight row with one activation row.
template <DType dtype>
HWY_INLINE float Dot(const typename Rows<dtype>::Stored* w, const float* x, std::int64_t in) {
  using Row = Rows<dtype>;
  const Floats d;
  alignas(64) float chains[32];
  std::int64_t i = 0;
#if !HWY_HAVE_SCALABLE
  constexpr std::int64_t lanes = hn::MaxLanes(Floats());
  constexpr int vectors = static_cast<int>(32 / lanes);
  hn::Vec<Floats> sums[vectors];
  for (int v = 0; v < vectors; ++v) sums[v] = hn::Zero(d);
  for (; i + 32 <= in; i += 32) {
    for (int v = 0; v < vectors; ++v) {
      sums[v] = hn::Add(sums[v], hn::Mul(Row::load(d, w + i + v * lanes), hn::LoadU(d, x + i + v * lanes)));
    }
  }
  for (int v = 0; v < vectors; ++v) hn::StoreU(sums[v], d, chains + v * lanes);
#else
  std::memset(chains, 0, sizeof(chains));
  for (; i + 32 <= in; i += 32) {
    for (int c = 0; c < 32; ++c) chains[c] += Row::one(w[i + c]) * x[i + c];
  }
#endif
  for (int c = 0; i < in; ++i, ++c) chains[c] += Row::one(w[i]) * x[i];
  return SumOfChains(chains);
}

template <DType dtype>
void DotRowsOf(const std::byte* weight, std::int64_t out, std::int64_t in, const float* x, std::int64_t rows,
               float* y, std::int64_t y_stride) {
  const auto* w = reinterpret_cast<const typename Rows<dtype>::Stored*>(weight);
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t r = 0; r < rows; ++r) y[r * y_stride + o] = Dot<dtype>(w + o * in, x + r * in, in);
  }
}

void DotRows(DType dtype, const std::byte* weight, std::int64_t out, std::int64_t in, const float* x,
             std::int64_t rows, float* y, std::int64_t y_stride) {
  switch (dtype) {
    case DType::bf16:
      DotRowsOf<DType::bf16>(weight, out, in, x, rows, y, y_stride);
      break;
    case DType::f16:
      DotRowsOf<DType::f16>(weight, out, in, x, rows, y, y_stride);
      break;
    default:
      DotRowsOf<DType::f32>(weight, out, in, x, rows, y, y_stride);
      break;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(DotRows);

void dense_dot_rows(DType dtype, const std::byte* weight, std::int64_t out, std::int64_t in, const float* x,
                    std::int64_t rows, float* y, std::int64_t y_stride) {
  HWY_DYNAMIC_DISPATCH(DotRows)(dtype, weight, out, in, x, rows, y, y_stride);
}

void dense_dot_rows_scalar(DType dtype, const std::byte* weight, std::int64_t out, std::int64_t in,
                           const float* x, std::int64_t rows, float* y, std::int64_t y_stride) {
  const std::size_t size = size_of(dtype);
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t r = 0; r < rows; ++r) {
      float chains[32] = {};
      for (std::int64_t i = 0; i < in; ++i) {
        float w;
        convert_to_f32_scalar(dtype, weight + static_cast<std::size_t>(o * in + i) * size, {&w, 1});
        chains[i % 32] += w * x[r * in + i];
      }
      for (int width = 16; width > 0; width /= 2) {
        for (int c = 0; c < width; ++c) chains[c] += chains[c + width];
      }
      y[r * y_stride + o] = chains[0];
    }
  }
}
}  // namespace laconic
#endif
