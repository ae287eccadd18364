// A register block is some rows of A times one panel of B: each element of A is broadcast once for all
// vectors of the panel. The rows of A are read where they lie; a block of 128 of them stays in the second
// cache while panels pass through the first.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/math/tiled_gemm_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/math/tiled_gemm_kernel.h"

// Loops over a fixed number of vectors must be unrolled, or the sums would live in memory.
#ifndef LACONIC_GEMM_UNROLL
#if defined(__clang__)
#define LACONIC_GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LACONIC_GEMM_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
#if HWY_HAVE_SCALABLE
// Vectors of unknown size cannot stand in arrays.
constexpr int kGemmWidth = 16;
void GemmMultiplyBlock(const GemmBlock& block) { multiply_block_scalar(block, kGemmWidth); }
#else
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kGemmLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
using GemmFloats = hn::CappedTag<float, kGemmLanes>;
using GemmVector = hn::Vec<GemmFloats>;
constexpr int kGemmVectors = 2, kGemmWidth = kGemmVectors * kGemmLanes;
#if HWY_TARGET <= HWY_AVX3
constexpr int kGemmRows = 12;  // of 32 registers
#else
constexpr int kGemmRows = 6;  // of 16
#endif

template <int rows>
HWY_INLINE void GemmRegisterBlock(const GemmBlock& b, const float* a, const float* panel, float* out) {
  const GemmFloats d;
  GemmVector sums[rows * kGemmVectors];
  LACONIC_GEMM_UNROLL
  for (int i = 0; i < rows * kGemmVectors; ++i) sums[i] = hn::Zero(d);
  for (std::int64_t t = 0; t < b.depth; ++t, ++a, panel += kGemmWidth) {
    GemmVector columns[kGemmVectors];
    LACONIC_GEMM_UNROLL
    for (int v = 0; v < kGemmVectors; ++v) columns[v] = hn::Load(d, panel + v * kGemmLanes);
    LACONIC_GEMM_UNROLL
    for (int i = 0; i < rows; ++i) {
      const auto element = hn::Set(d, a[i * b.a_stride]);
      LACONIC_GEMM_UNROLL
      for (int v = 0; v < kGemmVectors; ++v)
        sums[i * kGemmVectors + v] = hn::MulAdd(element, columns[v], sums[i * kGemmVectors + v]);
    }
  }
  LACONIC_GEMM_UNROLL
  for (int i = 0; i < rows; ++i) {
    LACONIC_GEMM_UNROLL
    for (int v = 0; v < kGemmVectors; ++v) {
      float* at = out + i * b.out_stride + v * kGemmLanes;
      auto sum = sums[i * kGemmVectors + v];
      if (!b.first) sum = hn::Add(hn::Load(d, at), sum);
      hn::Store(sum, d, at);
    }
  }
}

void GemmMultiplyBlock(const GemmBlock& b) {
  for (std::int64_t column = 0; column < b.columns; column += kGemmWidth) {
    const float* panel = b.panels + column / kGemmWidth * b.panel_stride;
    const float* a = b.a;
    float* out = b.out + column;
    std::int64_t row = 0;
    for (; row + kGemmRows <= b.rows; row += kGemmRows) {
      GemmRegisterBlock<kGemmRows>(b, a, panel, out);
      a += kGemmRows * b.a_stride;
      out += kGemmRows * b.out_stride;
    }
    for (; row + 2 <= b.rows; row += 2) {
      GemmRegisterBlock<2>(b, a, panel, out);
      a += 2 * b.a_stride;
      out += 2 * b.out_stride;
    }
    if (row < b.rows) GemmRegisterBlock<1>(b, a, panel, out);
  }
}
#endif

std::int64_t GemmPanelWidth() { return kGemmWidth; }

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(GemmMultiplyBlock);
HWY_EXPORT(GemmPanelWidth);

void multiply_block(const GemmBlock& block) { HWY_DYNAMIC_DISPATCH(GemmMultiplyBlock)(block); }
std::int64_t gemm_panel_width() { return HWY_DYNAMIC_DISPATCH(GemmPanelWidth)(); }
}  // namespace laconic
#endif
