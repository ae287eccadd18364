// A register block is so many keys (then: so many dimensions of the values) times so many vectors of rows;
// each element of a key is broadcast once for all of its vectors. Its multiply-adds run in the order of the
// inner index, so results do not depend on the width of vectors.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/attention/tile_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/attention/tile_kernel.h"

// Loops over a fixed number of vectors must be unrolled, or the sums would live in memory.
#ifndef LACONIC_ATTENTION_UNROLL
#if defined(__clang__)
#define LACONIC_ATTENTION_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LACONIC_ATTENTION_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
#if HWY_HAVE_SCALABLE
// Vectors of unknown size cannot stand in arrays.
void AttendTile(const AttentionTile& tile) { attend_tile_scalar(tile); }
void Exp2Row(const float* x, std::int64_t size, float* y) {
  for (std::int64_t i = 0; i < size; ++i) y[i] = exp2_of_nonpositive_scalar(x[i]);
}
#else
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kLanes =
    HWY_LANES(float) < attention_lanes ? HWY_LANES(float) : static_cast<int>(attention_lanes);
using Floats = hn::CappedTag<float, kLanes>;
using Vector = hn::Vec<Floats>;

#if HWY_TARGET <= HWY_AVX3
constexpr int kBlock = 4, kVectors = 4;  // of 32 registers
#else
constexpr int kBlock = 6, kVectors = 2;  // of 16
#endif

HWY_INLINE Vector Exp2(Floats d, Vector x) {
  const hn::RebindToUnsigned<Floats> du;
  const auto magic = hn::Set(d, exp2_magic);
  const auto shifted = hn::Add(x, magic);
  const auto r = hn::Sub(x, hn::Sub(shifted, magic));
  auto p = hn::Set(d, exp2_polynomial[0]);
  LACONIC_ATTENTION_UNROLL
  for (int i = 1; i < 7; ++i) p = hn::MulAdd(p, r, hn::Set(d, exp2_polynomial[i]));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), hn::Mul(p, power));
}

template <int keys, int vectors, bool masked>
HWY_INLINE void ScoreBlock(const AttentionTile& t, std::int64_t row, std::int64_t key, float* scores,
                           float* top) {
  const Floats d;
  const float* q = t.queries + row;
  const float* k = t.keys + key * t.key_stride;
  Vector sums[keys * vectors];
  LACONIC_ATTENTION_UNROLL
  for (int i = 0; i < keys * vectors; ++i) sums[i] = hn::Zero(d);
  for (std::int64_t at = 0; at < t.head_dim; ++at, q += t.rows, ++k) {
    Vector rows[vectors];
    LACONIC_ATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) rows[v] = hn::Load(d, q + v * kLanes);
    LACONIC_ATTENTION_UNROLL
    for (int i = 0; i < keys; ++i) {
      const auto element = hn::Set(d, k[i * t.key_stride]);
      LACONIC_ATTENTION_UNROLL
      for (int v = 0; v < vectors; ++v)
        sums[i * vectors + v] = hn::MulAdd(element, rows[v], sums[i * vectors + v]);
    }
  }
  LACONIC_ATTENTION_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const std::int64_t first = row + v * kLanes;
    auto most = hn::Load(d, top + first);
    LACONIC_ATTENTION_UNROLL
    for (int i = 0; i < keys; ++i) {
      auto score = sums[i * vectors + v];
      if constexpr (masked) {
        const auto place = hn::Set(d, static_cast<float>(key + i));
        const auto seen =
            hn::And(hn::Ge(place, hn::Load(d, t.begin + first)), hn::Lt(place, hn::Load(d, t.end + first)));
        score = hn::IfThenElse(seen, score, hn::Set(d, -std::numeric_limits<float>::infinity()));
      }
      most = hn::Max(most, score);
      hn::Store(score, d, scores + (key + i) * t.rows + first);
    }
    hn::Store(most, d, top + first);
  }
}

// Scores become weights; sums and tops move on. `factor`: what older sums and outputs count for now.
template <int vectors>
HWY_INLINE void Weigh(const AttentionTile& t, std::int64_t row, float* scores, const float* new_top,
                      float* factor) {
  const Floats d;
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  Vector shift[vectors], sums[vectors];
  LACONIC_ATTENTION_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const std::int64_t at = row + v * kLanes;
    const auto most = hn::Load(d, new_top + at);
    shift[v] = hn::IfThenZeroElse(hn::Eq(most, nothing), most);  // a row that has seen nothing yet
    const auto c = Exp2(d, hn::Sub(hn::Load(d, t.top + at), shift[v]));
    hn::Store(c, d, factor + at);
    hn::Store(most, d, t.top + at);
    sums[v] = hn::Mul(c, hn::Load(d, t.sum + at));
  }
  for (std::int64_t key = 0; key < t.count; ++key) {
    LACONIC_ATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) {
      float* at = scores + key * t.rows + row + v * kLanes;
      const auto weight = Exp2(d, hn::Sub(hn::Load(d, at), shift[v]));
      hn::Store(weight, d, at);
      sums[v] = hn::Add(sums[v], weight);
    }
  }
  LACONIC_ATTENTION_UNROLL
  for (int v = 0; v < vectors; ++v) hn::Store(sums[v], d, t.sum + row + v * kLanes);
}

template <int dims, int vectors>
HWY_INLINE void OutputBlock(const AttentionTile& t, std::int64_t row, std::int64_t dim, const float* weights,
                            const float* factor) {
  const Floats d;
  float* out = t.out + dim * t.rows + row;
  Vector sums[dims * vectors];
  LACONIC_ATTENTION_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const auto c = hn::Load(d, factor + row + v * kLanes);
    LACONIC_ATTENTION_UNROLL
    for (int i = 0; i < dims; ++i)
      sums[i * vectors + v] = hn::Mul(c, hn::Load(d, out + i * t.rows + v * kLanes));
  }
  const float* w = weights + row;
  const float* value = t.values + dim;
  for (std::int64_t key = 0; key < t.count; ++key, w += t.rows, value += t.value_stride) {
    Vector rows[vectors];
    LACONIC_ATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) rows[v] = hn::Load(d, w + v * kLanes);
    LACONIC_ATTENTION_UNROLL
    for (int i = 0; i < dims; ++i) {
      const auto element = hn::Set(d, value[i]);
      LACONIC_ATTENTION_UNROLL
      for (int v = 0; v < vectors; ++v)
        sums[i * vectors + v] = hn::MulAdd(element, rows[v], sums[i * vectors + v]);
    }
  }
  LACONIC_ATTENTION_UNROLL
  for (int i = 0; i < dims; ++i) {
    LACONIC_ATTENTION_UNROLL
    for (int v = 0; v < vectors; ++v) hn::Store(sums[i * vectors + v], d, out + i * t.rows + v * kLanes);
  }
}

template <int vectors, bool masked>
HWY_NOINLINE void RowGroup(const AttentionTile& t, std::int64_t row, float* scores, float* new_top,
                           float* factor) {
  std::int64_t key = 0;
  for (; key + kBlock <= t.count; key += kBlock)
    ScoreBlock<kBlock, vectors, masked>(t, row, key, scores, new_top);
  for (; key < t.count; ++key) ScoreBlock<1, vectors, masked>(t, row, key, scores, new_top);
  Weigh<vectors>(t, row, scores, new_top, factor);
  std::int64_t dim = 0;
  for (; dim + kBlock <= t.head_dim; dim += kBlock) OutputBlock<kBlock, vectors>(t, row, dim, scores, factor);
  for (; dim + 2 <= t.head_dim; dim += 2) OutputBlock<2, vectors>(t, row, dim, scores, factor);
  if (dim < t.head_dim) OutputBlock<1, vectors>(t, row, dim, scores, factor);
}

template <bool masked>
void Tile(const AttentionTile& t) {
  float* scores = t.scratch;
  float* new_top = scores + t.count * t.rows;
  float* factor = new_top + t.rows;
  std::copy(t.top, t.top + t.rows, new_top);
  std::int64_t row = 0;
  for (; row + kVectors * kLanes <= t.rows; row += kVectors * kLanes)
    RowGroup<kVectors, masked>(t, row, scores, new_top, factor);
  for (; row + 2 * kLanes <= t.rows; row += 2 * kLanes) RowGroup<2, masked>(t, row, scores, new_top, factor);
  for (; row < t.rows; row += kLanes) RowGroup<1, masked>(t, row, scores, new_top, factor);
}

void AttendTile(const AttentionTile& tile) {
  if (tile.begin == nullptr) {
    Tile<false>(tile);
  } else {
    Tile<true>(tile);
  }
}

void Exp2Row(const float* x, std::int64_t size, float* y) {
  const Floats d;
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) hn::StoreU(Exp2(d, hn::LoadU(d, x + i)), d, y + i);
  for (; i < size; ++i) y[i] = exp2_of_nonpositive_scalar(x[i]);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(AttendTile);
HWY_EXPORT(Exp2Row);

void attend_tile(const AttentionTile& tile) { HWY_DYNAMIC_DISPATCH(AttendTile)(tile); }
void exp2_of_nonpositive(const float* x, std::int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(Exp2Row)(x, size, y);
}
}  // namespace laconic
#endif
