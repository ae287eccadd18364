// Four rows and up to four queries share what is loaded of each: sixteen chains of multiply-adds. Columns
// that fill no vector of 4 are left to plain loops.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cache/exact_rows_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "runtime/cache/exact_rows_kernel.h"

// Loops over a fixed number of vectors must be unrolled, or the sums would live in memory.
#ifndef LACONIC_UNROLL
#if defined(__clang__)
#define LACONIC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LACONIC_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
#if HWY_HAVE_SCALABLE || HWY_TARGET == HWY_SCALAR
void DotExactRows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                  const float* queries, std::int64_t count, float* scores, std::int64_t stride) {
  dot_exact_rows_scalar(dtype, rows, row_count, width, queries, count, scores, stride);
}
void MixExactRows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                  const float* weights, std::int64_t stride, std::int64_t count, float* sums) {
  mix_exact_rows_scalar(dtype, rows, row_count, width, weights, stride, count, sums);
}
#else
namespace hn = hwy::HWY_NAMESPACE;
namespace {

using Four = hn::Vec<hn::FixedTag<float, 4> >;

template <DType dtype>
struct RowsOf {
  static constexpr std::int64_t bytes = dtype == DType::f32 ? 4 : 2;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::uint8_t* from) {
    if constexpr (dtype == DType::f32) {
      return hn::BitCast(d, hn::LoadU(hn::Repartition<std::uint8_t, D>(), from));
    } else if constexpr (dtype == DType::f16) {
      const hn::Rebind<hwy::float16_t, D> d16;
      return hn::PromoteTo(d,
                           hn::BitCast(d16, hn::LoadU(hn::Repartition<std::uint8_t, decltype(d16)>(), from)));
    } else {
      const hn::Rebind<std::uint16_t, D> d16;
      const hn::RebindToUnsigned<D> du;
      const auto words = hn::BitCast(d16, hn::LoadU(hn::Repartition<std::uint8_t, decltype(d16)>(), from));
      return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, words)));
    }
  }
  static HWY_INLINE float one(const std::uint8_t* from) {
    float value;
    if constexpr (dtype == DType::f32) {
      std::memcpy(&value, from, 4);
    } else {
      std::uint16_t bits;
      std::memcpy(&bits, from, 2);
      value = dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    return value;
  }
};

template <class D>
HWY_INLINE Four Halved(D, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return Halved(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return v;
  }
}
HWY_INLINE Four PairSums(Four a, Four b) {
  const hn::FixedTag<float, 4> d4;
  return hn::Add(hn::ConcatEven(d4, b, a), hn::ConcatOdd(d4, b, a));
}

// Scores of `count` neighbouring rows, in the first lanes of scores[m].
template <DType dtype, class D, int queries, int count>
HWY_INLINE void DotFewRows(D d, const std::uint8_t* rows, std::int64_t width, const float* x, Four* scores) {
  constexpr auto lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  const std::int64_t row_bytes = width * RowsOf<dtype>::bytes;
  hn::Vec<D> sums[queries * count];
  LACONIC_UNROLL
  for (int i = 0; i < queries * count; ++i) sums[i] = hn::Zero(d);
  for (std::int64_t j = 0; j + lanes <= width; j += lanes) {
    hn::Vec<D> query[queries];
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) query[m] = hn::LoadU(d, x + m * width + j);
    LACONIC_UNROLL
    for (int r = 0; r < count; ++r) {
      const auto row = RowsOf<dtype>::load(d, rows + r * row_bytes + j * RowsOf<dtype>::bytes);
      LACONIC_UNROLL
      for (int m = 0; m < queries; ++m) sums[m * count + r] = hn::MulAdd(row, query[m], sums[m * count + r]);
    }
  }
  const Four zero = hn::Zero(hn::FixedTag<float, 4>());
  LACONIC_UNROLL
  for (int m = 0; m < queries; ++m) {
    Four parts[4] = {zero, zero, zero, zero};
    LACONIC_UNROLL
    for (int r = 0; r < count; ++r) parts[r] = Halved(d, sums[m * count + r]);
    scores[m] = PairSums(PairSums(parts[0], parts[1]), PairSums(parts[2], parts[3]));
  }
}

template <DType dtype, class D, int queries>
void DotRowsOf(D d, const std::uint8_t* rows, std::int64_t row_count, std::int64_t width, const float* x,
               float* scores, std::int64_t stride) {
  constexpr std::int64_t bytes = RowsOf<dtype>::bytes;
  const hn::FixedTag<float, 4> d4;
  std::int64_t r = 0;
  Four sums[queries];
  for (; r + 4 <= row_count; r += 4) {
    DotFewRows<dtype, D, queries, 4>(d, rows + r * width * bytes, width, x, sums);
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) hn::StoreU(sums[m], d4, scores + m * stride + r);
  }
  for (; r < row_count; ++r) {
    DotFewRows<dtype, D, queries, 1>(d, rows + r * width * bytes, width, x, sums);
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) scores[m * stride + r] = hn::GetLane(sums[m]);
  }
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t j = width / lanes * lanes; j < width; ++j) {
    for (r = 0; r < row_count; ++r) {
      const float value = RowsOf<dtype>::one(rows + (r * width + j) * bytes);
      for (int m = 0; m < queries; ++m) scores[m * stride + r] += value * x[m * width + j];
    }
  }
}

template <DType dtype, class D>
void DotQueries(D d, const std::uint8_t* rows, std::int64_t row_count, std::int64_t width,
                const float* queries, std::int64_t count, float* scores, std::int64_t stride) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    DotRowsOf<dtype, D, 4>(d, rows, row_count, width, queries + i * width, scores + i * stride, stride);
  for (; i + 2 <= count; i += 2)
    DotRowsOf<dtype, D, 2>(d, rows, row_count, width, queries + i * width, scores + i * stride, stride);
  if (i < count)
    DotRowsOf<dtype, D, 1>(d, rows, row_count, width, queries + i * width, scores + i * stride, stride);
}

// `vectors` vectors of columns of all rows.
template <DType dtype, class D, int queries, int vectors>
HWY_INLINE void MixColumns(D d, const std::uint8_t* rows, std::int64_t row_count, std::int64_t width,
                           const float* weights, std::int64_t stride, float* sums) {
  constexpr auto lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> all[queries * vectors];
  LACONIC_UNROLL
  for (int i = 0; i < queries * vectors; ++i)
    all[i] = hn::LoadU(d, sums + i / vectors * width + i % vectors * lanes);
  for (std::int64_t r = 0; r < row_count; ++r) {
    const std::uint8_t* row = rows + r * width * RowsOf<dtype>::bytes;
    hn::Vec<D> weight[queries];
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) weight[m] = hn::Set(d, weights[m * stride + r]);
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const auto value = RowsOf<dtype>::load(d, row + v * lanes * RowsOf<dtype>::bytes);
      LACONIC_UNROLL
      for (int m = 0; m < queries; ++m)
        all[m * vectors + v] = hn::MulAdd(weight[m], value, all[m * vectors + v]);
    }
  }
  LACONIC_UNROLL
  for (int i = 0; i < queries * vectors; ++i)
    hn::StoreU(all[i], d, sums + i / vectors * width + i % vectors * lanes);
}

template <DType dtype, class D, int queries>
void MixRowsOf(D d, const std::uint8_t* rows, std::int64_t row_count, std::int64_t width,
               const float* weights, std::int64_t stride, float* sums) {
  constexpr std::int64_t bytes = RowsOf<dtype>::bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + 4 * lanes <= width; j += 4 * lanes)
    MixColumns<dtype, D, queries, 4>(d, rows + j * bytes, row_count, width, weights, stride, sums + j);
  for (; j + lanes <= width; j += lanes)
    MixColumns<dtype, D, queries, 1>(d, rows + j * bytes, row_count, width, weights, stride, sums + j);
  for (; j < width; ++j) {
    for (int m = 0; m < queries; ++m) {
      float sum = sums[m * width + j];
      for (std::int64_t r = 0; r < row_count; ++r)
        sum += weights[m * stride + r] * RowsOf<dtype>::one(rows + (r * width + j) * bytes);
      sums[m * width + j] = sum;
    }
  }
}

template <DType dtype, class D>
void MixQueries(D d, const std::uint8_t* rows, std::int64_t row_count, std::int64_t width,
                const float* weights, std::int64_t stride, std::int64_t count, float* sums) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    MixRowsOf<dtype, D, 4>(d, rows, row_count, width, weights + i * stride, stride, sums + i * width);
  for (; i + 2 <= count; i += 2)
    MixRowsOf<dtype, D, 2>(d, rows, row_count, width, weights + i * stride, stride, sums + i * width);
  if (i < count)
    MixRowsOf<dtype, D, 1>(d, rows, row_count, width, weights + i * stride, stride, sums + i * width);
}

// The widest vectors that fill rows of this width, and no shorter ones than 4 lanes.
using Widest = hn::CappedTag<float, 16>;
using Eight = hn::CappedTag<float, 8>;
using Shortest = hn::FixedTag<float, 4>;

template <DType dtype>
void DotWidths(const std::uint8_t* rows, std::int64_t row_count, std::int64_t width, const float* queries,
               std::int64_t count, float* scores, std::int64_t stride) {
  if (width % 16 == 0 || width > 64) {
    DotQueries<dtype>(Widest(), rows, row_count, width, queries, count, scores, stride);
  } else if (width % 8 == 0) {
    DotQueries<dtype>(Eight(), rows, row_count, width, queries, count, scores, stride);
  } else {
    DotQueries<dtype>(Shortest(), rows, row_count, width, queries, count, scores, stride);
  }
}

template <DType dtype>
void MixWidths(const std::uint8_t* rows, std::int64_t row_count, std::int64_t width, const float* weights,
               std::int64_t stride, std::int64_t count, float* sums) {
  if (width % 16 == 0 || width > 64) {
    MixQueries<dtype>(Widest(), rows, row_count, width, weights, stride, count, sums);
  } else if (width % 8 == 0) {
    MixQueries<dtype>(Eight(), rows, row_count, width, weights, stride, count, sums);
  } else {
    MixQueries<dtype>(Shortest(), rows, row_count, width, weights, stride, count, sums);
  }
}

}  // namespace

void DotExactRows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                  const float* queries, std::int64_t count, float* scores, std::int64_t stride) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(rows);
  switch (dtype) {
    case DType::f16:
      return DotWidths<DType::f16>(from, row_count, width, queries, count, scores, stride);
    case DType::bf16:
      return DotWidths<DType::bf16>(from, row_count, width, queries, count, scores, stride);
    default:
      return DotWidths<DType::f32>(from, row_count, width, queries, count, scores, stride);
  }
}

void MixExactRows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                  const float* weights, std::int64_t stride, std::int64_t count, float* sums) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(rows);
  switch (dtype) {
    case DType::f16:
      return MixWidths<DType::f16>(from, row_count, width, weights, stride, count, sums);
    case DType::bf16:
      return MixWidths<DType::bf16>(from, row_count, width, weights, stride, count, sums);
    default:
      return MixWidths<DType::f32>(from, row_count, width, weights, stride, count, sums);
  }
}
#endif
}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(DotExactRows);
HWY_EXPORT(MixExactRows);

void dot_exact_rows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                    const float* queries, std::int64_t count, float* scores, std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(DotExactRows)(dtype, rows, row_count, width, queries, count, scores, stride);
}
void mix_exact_rows(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                    const float* weights, std::int64_t stride, std::int64_t count, float* sums) {
  HWY_DYNAMIC_DISPATCH(MixExactRows)(dtype, rows, row_count, width, weights, stride, count, sums);
}

void dot_exact_rows_scalar(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                           const float* queries, std::int64_t count, float* scores, std::int64_t stride) {
  for (std::int64_t r = 0; r < row_count; ++r) {
    for (std::int64_t i = 0; i < count; ++i) {
      float sum = 0;
      for (std::int64_t j = 0; j < width; ++j) {
        float value;
        convert_to_f32_scalar(dtype, rows + static_cast<std::size_t>(r * width + j) * size_of(dtype),
                              {&value, 1});
        sum += value * queries[i * width + j];
      }
      scores[i * stride + r] = sum;
    }
  }
}

void mix_exact_rows_scalar(DType dtype, const std::byte* rows, std::int64_t row_count, std::int64_t width,
                           const float* weights, std::int64_t stride, std::int64_t count, float* sums) {
  for (std::int64_t r = 0; r < row_count; ++r) {
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t j = 0; j < width; ++j) {
        float value;
        convert_to_f32_scalar(dtype, rows + static_cast<std::size_t>(r * width + j) * size_of(dtype),
                              {&value, 1});
        sums[i * width + j] += weights[i * stride + r] * value;
      }
    }
  }
}
}  // namespace laconic
#endif
