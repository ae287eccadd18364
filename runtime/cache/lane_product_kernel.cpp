// For every word of 32 lanes and every pair of depths in it: a shift or two and a mask leave the codes of the
// pair in the halves of each lane, and one multiply-add of 16-bit halves into 32-bit lanes (two products an
// instruction) takes in a query. Four queries share the unpacking.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cache/lane_product_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/tensor/dtype.h"
#include "runtime/cache/lane_product.h"
#include "runtime/cache/lane_run.h"

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
// Vectors of unknown size cannot stand in arrays, and those of one lane hold no pairs.
void LaneProduct(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
                 std::int64_t count, float* y, std::int64_t y_stride, bool adds) {
  lane_product_scalar(matrix, range, x, x_stride, count, y, y_stride, adds);
}
void LaneValues(const LaneMatrix& matrix, const LaneRange& range, float* values, std::int64_t lane_stride,
                std::int64_t depth_stride) {
  lane_values_scalar(matrix, range, values, lane_stride, depth_stride);
}
#else
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kLanes = HWY_LANES(std::int32_t) < 16 ? HWY_LANES(std::int32_t) : 16;
using Int = hn::CappedTag<std::int32_t, kLanes>;
using Word = hn::RebindToUnsigned<Int>;
using Float = hn::Rebind<float, Int>;
using Short = hn::Repartition<std::int16_t, Int>;
using UnsignedShort = hn::Repartition<std::uint16_t, Int>;
using Byte = hn::Repartition<std::uint8_t, Int>;
using Ints = hn::Vec<Int>;
using Shorts = hn::Vec<Short>;
using Floats = hn::Vec<Float>;

constexpr int kTile = LaneCodes::tile_lanes;

// Numbers [at, at + count) as f32.
void LoadNumbers(const std::uint8_t* from, bool half, std::int64_t at, std::int64_t count, float* to) {
  if (!half) {
    std::memcpy(to, from + at * 4, static_cast<std::size_t>(count) * 4);
    return;
  }
  const Float d;
  const hn::Rebind<hwy::float16_t, Float> d16;
  const hn::Repartition<std::uint8_t, decltype(d16)> d8;
  from += at * 2;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    hn::StoreU(hn::PromoteTo(d, hn::BitCast(d16, hn::LoadU(d8, from + i * 2))), d, to + i);
  for (; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + i * 2, 2);
    to[i] = f16_to_f32(bits);
  }
}

// Steps and middles of grids [at, at + count), padded with zeros to a whole vector of chains.
void LoadGrids(const LaneGrids& grids, int bits, std::int64_t at, std::int64_t count, float* step,
               float* middle) {
  const Float d;
  const std::int64_t padded = LaneRun::padded(count);
  std::fill(step + count, step + padded, 0.0f);
  LoadNumbers(grids.step, grids.half, at, count, step);
  const int half_range = 1 << (bits - 1);
  if (grids.offset != nullptr) {
    std::fill(middle + count, middle + padded, 0.0f);
    LoadNumbers(grids.offset, grids.half, at, count, middle);
  } else {
    std::fill(middle, middle + padded, 0.0f);
  }
  if (grids.centre != nullptr) {
    for (std::int64_t i = 0; i < count; ++i)
      middle[i] += static_cast<float>(half_range - grids.centre[at + i]) * step[i];
    return;
  }
  if (half_range == grids.fixed_centre) return;
  const auto factor = hn::Set(d, static_cast<float>(half_range - grids.fixed_centre));
  for (std::int64_t i = 0; i < padded; i += kLanes)
    hn::StoreU(hn::Add(hn::LoadU(d, middle + i), hn::Mul(factor, hn::LoadU(d, step + i))), d, middle + i);
}

// The codes of pair k of a word, in the halves of each lane.
template <int width, bool top, int k>
HWY_INLINE Shorts Pair(Shorts word) {
  constexpr int last = 16 / width - 1;
  const UnsignedShort du;
  const Short d;
  if constexpr (top) {
    if constexpr (k < last) word = hn::ShiftLeft<16 - width*(k + 1)>(word);
    return hn::ShiftRight<16 - width>(word);
  } else {
    auto bits = hn::BitCast(du, word);
    if constexpr (k > 0) bits = hn::ShiftRight<width * k>(bits);
    if constexpr (k < last) bits = hn::And(bits, hn::Set(du, (1u << width) - 1u));
    return hn::BitCast(d, bits);
  }
}

// Sums of `queries` queries over `vectors` vectors of lanes. Where the instruction set widens halves apart,
// the second sums hold the other halves.
template <int queries, int vectors>
struct Sums {
  Ints of[queries * vectors], more[queries * vectors];
};

template <int queries, int vectors>
HWY_INLINE void AddPair(const Shorts* codes, const std::int32_t* const* x, std::int64_t pair,
                        Sums<queries, vectors>& sums) {
  const Int d;
  const Short d16;
  LACONIC_UNROLL
  for (int m = 0; m < queries; ++m) {
    const auto factor = hn::BitCast(d16, hn::Set(d, x[m][pair]));
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const int i = m * vectors + v;
      sums.of[i] = hn::ReorderWidenMulAccumulate(d, codes[v], factor, sums.of[i], sums.more[i]);
    }
  }
}

template <int width, bool top, int queries, int vectors, int k = 0>
HWY_INLINE void AddWord(const Shorts* words, const std::int32_t* const* x, std::int64_t first_pair,
                        Sums<queries, vectors>& sums) {
  if constexpr (k < 16 / width) {
    Shorts codes[vectors];
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) codes[v] = Pair<width, top, k>(words[v]);
    AddPair<queries, vectors>(codes, x, first_pair + k, sums);
    AddWord<width, top, queries, vectors, k + 1>(words, x, first_pair, sums);
  }
}

// Words of the lanes from `from` on; fewer than a vector where `valid` says so.
HWY_INLINE Shorts LoadLanes(const std::uint8_t* from, std::int64_t valid) {
  const Byte d;
  const Short d16;
  if (valid >= kLanes) return hn::BitCast(d16, hn::LoadU(d, from));
  alignas(64) std::uint8_t part[kLanes * 4] = {};
  std::memcpy(part, from, static_cast<std::size_t>(valid) * 4);
  return hn::BitCast(d16, hn::Load(d, part));
}

// What of a part a run of depths touches.
struct PartRun {
  const std::uint8_t* words = nullptr;  // of the tile
  std::int64_t lanes = 0;               // of the tile
  std::int64_t first_word = 0, last_word = 0;
  std::int64_t first_pair = 0;                        // of the first word, in the factors of the run
  const std::uint8_t* tail = nullptr;                 // bytes of the tail
  int tail_bytes = 0, first_tail = 0, last_tail = 0;  // depths of the tail
  std::int64_t tail_at = 0;                           // its first depth, in the factors of the run
  int shift = 0;
};

template <int width, bool top, int queries>
void AddTail(const PartRun& run, std::int64_t lane, std::int64_t valid, const std::int32_t* const* x,
             Sums<queries, 1>& sums) {
  const Int d;
  const Word du;
  const Short d16;
  alignas(64) std::uint32_t words[kLanes] = {};
  for (int b = 0; b < run.tail_bytes; ++b) {
    for (std::int64_t l = 0; l < std::min<std::int64_t>(valid, kLanes); ++l)
      words[l] |= std::uint32_t{run.tail[b * run.lanes + lane + l]} << (8 * b);
  }
  const auto word = hn::Load(du, words);
  for (int j = run.first_tail; j < run.last_tail; ++j) {
    auto code = hn::BitCast(d, hn::ShiftLeftSame(word, 32 - width * (j + 1)));
    if constexpr (top) {
      code = hn::ShiftRight<32 - width>(code);
    } else {
      code = hn::BitCast(d, hn::ShiftRight<32 - width>(hn::BitCast(du, code)));
    }
    const Shorts codes[1] = {hn::BitCast(d16, code)};
    std::int32_t factors[queries];
    const std::int32_t* pointers[queries];
    for (int m = 0; m < queries; ++m) {
      std::int16_t number;
      std::memcpy(&number, reinterpret_cast<const std::uint8_t*>(x[m]) + (run.tail_at + j) * 2, 2);
      factors[m] = static_cast<std::uint16_t>(number);
      pointers[m] = &factors[m];
    }
    AddPair<queries, 1>(codes, pointers, 0, sums);
  }
}

template <int queries, int vectors>
HWY_INLINE void Start(Sums<queries, vectors>& sums) {
  LACONIC_UNROLL
  for (int i = 0; i < queries * vectors; ++i) sums.of[i] = sums.more[i] = hn::Zero(Int());
}

template <int queries, int vectors>
HWY_INLINE void Keep(const Sums<queries, vectors>& sums, int shift, bool adds, std::int64_t lane,
                     std::int32_t (*to)[kTile]) {
  const Int d;
  LACONIC_UNROLL
  for (int m = 0; m < queries; ++m) {
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const int i = m * vectors + v;
      auto sum = hn::RearrangeToOddPlusEven(sums.of[i], sums.more[i]);
      std::int32_t* at = to[m] + lane + v * kLanes;
      if (shift > 0) sum = hn::ShiftLeftSame(sum, shift);
      if (adds) sum = hn::Add(sum, hn::Load(d, at));
      hn::Store(sum, d, at);
    }
  }
}

template <int width, bool top, int queries>
void PartSums(const PartRun& run, const std::int32_t* const* x, bool adds, std::int32_t (*to)[kTile]) {
  std::int64_t lane = 0;
  if (run.first_tail == run.last_tail) {
    for (; lane + 2 * kLanes <= run.lanes; lane += 2 * kLanes) {
      Sums<queries, 2> sums;
      Start(sums);
      const std::uint8_t* from = run.words + (run.first_word * run.lanes + lane) * 4;
      std::int64_t pair = run.first_pair;
      for (std::int64_t i = run.first_word; i < run.last_word; ++i) {
        const Shorts words[2] = {LoadLanes(from, kLanes), LoadLanes(from + 4 * kLanes, kLanes)};
        AddWord<width, top, queries, 2>(words, x, pair, sums);
        from += run.lanes * 4;
        pair += 16 / width;
      }
      Keep(sums, run.shift, adds, lane, to);
    }
  }
  for (; lane < run.lanes; lane += kLanes) {
    Sums<queries, 1> sums;
    Start(sums);
    const std::uint8_t* from = run.words + (run.first_word * run.lanes + lane) * 4;
    std::int64_t pair = run.first_pair;
    for (std::int64_t i = run.first_word; i < run.last_word; ++i) {
      const Shorts words[1] = {LoadLanes(from, run.lanes - lane)};
      AddWord<width, top, queries, 1>(words, x, pair, sums);
      from += run.lanes * 4;
      pair += 16 / width;
    }
    if (run.first_tail < run.last_tail) AddTail<width, top, queries>(run, lane, run.lanes - lane, x, sums);
    Keep(sums, run.shift, adds, lane, to);
  }
}

// to[m][l] = sum over the run of factor[m][d] c[l, d] for the lanes of a tile.
template <int queries>
void TileSums(const LaneCodes& layout, const std::uint8_t* tile, std::int64_t lanes, const LaneRun& depths,
              const std::int32_t* const* x, std::int32_t (*to)[kTile]) {
  bool adds = false;
  for (const LanePart& part : layout.parts()) {
    const std::int64_t per_word = part.per_word(), first_tail = part.words * per_word;
    PartRun run;
    run.words = tile + part.offset * lanes;
    run.lanes = lanes;
    run.first_word = depths.begin / per_word;
    run.last_word = std::max(run.first_word, std::min(part.words, (depths.end + per_word - 1) / per_word));
    run.first_pair = (run.first_word * per_word - depths.base) / 2;
    run.shift = part.shift;
    if (depths.end > first_tail) {
      run.tail = run.words + part.words * lanes * 4;
      run.tail_bytes = part.tail_bytes;
      run.first_tail = static_cast<int>(std::max<std::int64_t>(depths.begin - first_tail, 0));
      run.last_tail = static_cast<int>(depths.end - first_tail);
      run.tail_at = first_tail - depths.base;
    }
    switch (part.width) {
      case 8:  // always the top of a code, and so are four bits
        PartSums<8, true, queries>(run, x, adds, to);
        break;
      case 4:
        PartSums<4, true, queries>(run, x, adds, to);
        break;
      case 2:
        part.top ? PartSums<2, true, queries>(run, x, adds, to)
                 : PartSums<2, false, queries>(run, x, adds, to);
        break;
      default:
        part.top ? PartSums<1, true, queries>(run, x, adds, to)
                 : PartSums<1, false, queries>(run, x, adds, to);
        break;
    }
    adds = true;
  }
}

HWY_INLINE float LargestOf(const float* x, const float* step, std::int64_t size) {
  const Float d;
  auto largest = hn::Zero(d);
  for (std::int64_t i = 0; i < size; i += kLanes) {
    auto v = hn::LoadU(d, x + i);
    if (step != nullptr) v = hn::Mul(v, hn::LoadU(d, step + i));
    largest = hn::Max(largest, hn::Abs(v));
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// factor = (x step) inverse, to the nearest integer.
HWY_INLINE void RoundFactors(const float* x, const float* step, float inverse, std::int64_t size,
                             std::int32_t* factor) {
  const Float d;
  const hn::Rebind<std::int16_t, Float> d16;
  const auto scale = hn::Set(d, inverse);
  auto* to = reinterpret_cast<std::int16_t*>(factor);
  for (std::int64_t i = 0; i < size; i += kLanes) {
    auto v = hn::LoadU(d, x + i);
    if (step != nullptr) v = hn::Mul(v, hn::LoadU(d, step + i));
    hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(hn::Mul(v, scale))), d16, to + i);
  }
}

// Sum of x y (or of x) in 16 chains, added in pairs.
HWY_INLINE float ChainSum(const float* x, const float* y, std::int64_t size) {
  const Float d;
  constexpr int vectors = LaneRun::chains / kLanes;
  Floats sums[vectors];
  LACONIC_UNROLL
  for (int v = 0; v < vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t i = 0; i < size; i += LaneRun::chains) {
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      auto product = hn::LoadU(d, x + i + v * kLanes);
      if (y != nullptr) product = hn::Mul(product, hn::LoadU(d, y + i + v * kLanes));
      sums[v] = hn::Add(sums[v], product);
    }
  }
  alignas(64) float chains[LaneRun::chains];
  LACONIC_UNROLL
  for (int v = 0; v < vectors; ++v) hn::Store(sums[v], d, chains + v * kLanes);
  const hn::FixedTag<float, 4> d4;
  const auto pairs = hn::Add(hn::Add(hn::Load(d4, chains), hn::Load(d4, chains + 8)),
                             hn::Add(hn::Load(d4, chains + 4), hn::Load(d4, chains + 12)));
  const auto two = hn::Add(pairs, hn::Shuffle1032(pairs));
  return hn::GetLane(hn::Add(two, hn::Shuffle2301(two)));
}

// What a run of depths gives to the lanes of a tile, added to y: scale sum + constant, or
// step (scale sum) + middle constant.
struct TileTerms {
  float scale = 0, constant = 0;
  const float *step = nullptr, *middle = nullptr;  // of the tile's lanes
};

HWY_INLINE void AddToLanes(const std::int32_t* sums, const TileTerms& terms, std::int64_t begin,
                           std::int64_t end, float* y, bool adds) {
  const Float d;
  const Int di;
  const auto scale = hn::Set(d, terms.scale), constant = hn::Set(d, terms.constant);
  std::int64_t l = begin;
  for (; l + kLanes <= end; l += kLanes) {
    auto value = hn::Mul(scale, hn::ConvertTo(d, hn::LoadU(di, sums + l)));
    if (terms.step != nullptr) {
      value = hn::Add(hn::Mul(hn::LoadU(d, terms.step + l), value),
                      hn::Mul(hn::LoadU(d, terms.middle + l), constant));
    } else {
      value = hn::Add(value, constant);
    }
    if (adds) value = hn::Add(hn::LoadU(d, y + l), value);
    hn::StoreU(value, d, y + l);
  }
  for (; l < end; ++l) {
    float value = terms.scale * static_cast<float>(sums[l]);
    value = terms.step != nullptr ? terms.step[l] * value + terms.middle[l] * terms.constant
                                  : value + terms.constant;
    y[l] = adds ? y[l] + value : value;
  }
}

void AddTile(const LaneMatrix& matrix, const LaneRange& range, const LaneMatrix::Tile& tile,
             const LaneRun& run, const TileTerms* terms, float* y, std::int64_t y_stride, bool adds) {
  alignas(64) std::int32_t sums[LaneRun::most_queries][kTile];
  const std::int32_t* x[LaneRun::most_queries] = {run.factor[0], run.factor[1], run.factor[2], run.factor[3]};
  const std::uint8_t* codes = matrix.tile(tile.first);
  switch (run.queries) {
    case 1:
      TileSums<1>(*matrix.layout, codes, tile.lanes, run, x, sums);
      break;
    case 2:
      TileSums<2>(*matrix.layout, codes, tile.lanes, run, x, sums);
      break;
    default:  // the fourth of three is not used
      TileSums<4>(*matrix.layout, codes, tile.lanes, run, x, sums);
      break;
  }
  const std::int64_t begin = std::max<std::int64_t>(range.lane_begin - tile.first, 0);
  const std::int64_t end = std::min(range.lane_end - tile.first, tile.lanes);
  float* to = y + (tile.first - range.lane_begin);
  for (int m = 0; m < run.queries; ++m) AddToLanes(sums[m], terms[m], begin, end, to + m * y_stride, adds);
}

// Grids shared by lanes: steps go into the factors of each group of lanes.
void FoldedRun(const LaneMatrix& matrix, const LaneRange& range, LaneRun& run, float* y,
               std::int64_t y_stride, bool adds) {
  const LaneGrids& grids = matrix.grids;
  const Float d;
  const int bits = matrix.layout->bits();
  const std::int64_t size = run.size(), padded = run.padded_size();
  const std::int64_t first = grids.group_of(range.lane_begin), last = grids.group_of(range.lane_end - 1);
  alignas(64) float step[LaneRun::depths], middle[LaneRun::depths], largest[LaneRun::depths] = {};
  for (std::int64_t group = first; group <= last; ++group) {
    LoadGrids(grids, bits, group * grids.columns + run.base, size, step, middle);
    for (std::int64_t i = 0; i < padded; i += kLanes)
      hn::Store(hn::Max(hn::Load(d, largest + i), hn::Abs(hn::Load(d, step + i))), d, largest + i);
  }
  for (int m = 0; m < run.queries; ++m) run.set_scale(m, LargestOf(run.x[m], largest, padded));
  std::int64_t lane = range.lane_begin;
  for (std::int64_t group = first; group <= last; ++group) {
    if (first != last) LoadGrids(grids, bits, group * grids.columns + run.base, size, step, middle);
    TileTerms terms[LaneRun::most_queries];
    for (int m = 0; m < run.queries; ++m) {
      RoundFactors(run.x[m], step, run.inverse[m], padded, run.factor[m]);
      terms[m].scale = run.scale[m];
      terms[m].constant = ChainSum(run.x[m], middle, padded);
    }
    const std::int64_t end = std::min(range.lane_end, grids.group_end(lane, matrix.lanes));
    while (lane < end) {
      const LaneMatrix::Tile tile = matrix.tile_of(lane);
      AddTile(matrix, range, tile, run, terms, y, y_stride, adds);
      lane = tile.first + tile.lanes;
    }
  }
}

// Grids shared by the depths of the run: its sums are scaled lane by lane.
void ScaledRun(const LaneMatrix& matrix, const LaneRange& range, LaneRun& run, float* y,
               std::int64_t y_stride, bool adds) {
  const LaneGrids& grids = matrix.grids;
  const std::int64_t padded = run.padded_size();
  alignas(64) float step[kTile], middle[kTile];
  TileTerms terms[LaneRun::most_queries];
  for (int m = 0; m < run.queries; ++m) {
    run.set_scale(m, LargestOf(run.x[m], nullptr, padded));
    RoundFactors(run.x[m], nullptr, run.inverse[m], padded, run.factor[m]);
    terms[m] = {run.scale[m], ChainSum(run.x[m], nullptr, padded), step, middle};
  }
  const std::int64_t from = grids.group_of(run.begin) * grids.columns;
  for (std::int64_t lane = range.lane_begin; lane < range.lane_end;) {
    const LaneMatrix::Tile tile = matrix.tile_of(lane);
    LoadGrids(grids, matrix.layout->bits(), from + tile.first, tile.lanes, step, middle);
    AddTile(matrix, range, tile, run, terms, y, y_stride, adds);
    lane = tile.first + tile.lanes;
  }
}

void LaneProduct(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
                 std::int64_t count, float* y, std::int64_t y_stride, bool adds) {
  LaneRun run;
  for (std::int64_t first = 0; first < count; first += LaneRun::most_queries) {
    const int queries = static_cast<int>(std::min<std::int64_t>(LaneRun::most_queries, count - first));
    bool again = adds;
    for (std::int64_t at = range.depth_begin; at < range.depth_end; at = run.end) {
      run.take(matrix, range, at, x + first * x_stride, x_stride, queries);
      if (matrix.grids.along_depth) {
        ScaledRun(matrix, range, run, y + first * y_stride, y_stride, again);
      } else {
        FoldedRun(matrix, range, run, y + first * y_stride, y_stride, again);
      }
      again = true;
    }
  }
}

// Codes of one depth of the lanes of a vector, as numbers from 0 on.
Ints CodesOf(const LaneCodes& layout, const std::uint8_t* tile, std::int64_t lanes, std::int64_t lane,
             std::int64_t depth) {
  const Word du;
  const std::int64_t valid = std::min<std::int64_t>(lanes - lane, kLanes);
  auto code = hn::Set(du, 1u << (layout.bits() - 1));
  for (const LanePart& part : layout.parts()) {
    const std::int64_t word = depth / part.per_word();
    const auto j = static_cast<int>(depth % part.per_word());
    const std::uint8_t* words = tile + part.offset * lanes;
    auto bits = hn::Zero(du);
    if (word < part.words) {
      bits = hn::BitCast(du, LoadLanes(words + (word * lanes + lane) * 4, valid));
      bits = hn::ShiftRightSame(bits, 16 * (j % 2) + part.width * (j / 2));
    } else {
      const int at = j * part.width;
      const std::uint8_t* from = words + part.words * lanes * 4 + at / 8 * lanes + lane;
      alignas(64) std::uint32_t wide[kLanes] = {};
      for (std::int64_t l = 0; l < valid; ++l) wide[l] = from[l];
      bits = hn::ShiftRightSame(hn::Load(du, wide), at % 8);
    }
    bits = hn::And(bits, hn::Set(du, (1u << part.width) - 1u));
    code = hn::Xor(code, hn::ShiftLeftSame(bits, part.shift));
  }
  return hn::BitCast(Int(), code);
}

void LaneValues(const LaneMatrix& matrix, const LaneRange& range, float* values, std::int64_t lane_stride,
                std::int64_t depth_stride) {
  const Float d;
  const Int di;
  const LaneGrids& grids = matrix.grids;
  alignas(64) float row[kTile], step[kTile], offset[kTile];
  alignas(64) std::int32_t centre[kTile];
  for (std::int64_t first = range.lane_begin; first < range.lane_end;) {
    const LaneMatrix::Tile tile = matrix.tile_of(first);
    const std::uint8_t* codes = matrix.tile(tile.first);
    const std::int64_t begin = first - tile.first;
    const std::int64_t end = std::min(range.lane_end - tile.first, tile.lanes);
    std::int64_t loaded = -1;  // group of depths whose grids are in place
    for (std::int64_t depth = range.depth_begin; depth < range.depth_end; ++depth) {
      const std::int64_t group = grids.along_depth ? grids.group_of(depth) : grids.group_of(tile.first);
      if (!grids.along_depth || group != loaded) {
        const std::int64_t at = group * grids.columns + (grids.along_depth ? tile.first : depth);
        const std::int64_t count = grids.along_depth ? tile.lanes : 1;
        LoadNumbers(grids.step, grids.half, at, count, step);
        std::fill(offset, offset + count, 0.0f);
        if (grids.offset != nullptr) LoadNumbers(grids.offset, grids.half, at, count, offset);
        for (std::int64_t l = 0; l < count; ++l)
          centre[l] = grids.centre != nullptr ? grids.centre[at + l] : grids.fixed_centre;
        if (!grids.along_depth) {
          std::fill(step + 1, step + kTile, step[0]);
          std::fill(offset + 1, offset + kTile, offset[0]);
          std::fill(centre + 1, centre + kTile, centre[0]);
        }
        loaded = group;
      }
      for (std::int64_t l = begin / kLanes * kLanes; l < end; l += kLanes) {
        const auto code = CodesOf(*matrix.layout, codes, tile.lanes, l, depth);
        const auto level = hn::ConvertTo(d, hn::Sub(code, hn::Load(di, centre + l)));
        hn::Store(hn::Add(hn::Mul(hn::Load(d, step + l), level), hn::Load(d, offset + l)), d, row + l);
      }
      float* to =
          values + (tile.first - range.lane_begin) * lane_stride + (depth - range.depth_begin) * depth_stride;
      for (std::int64_t l = begin; l < end; ++l) to[l * lane_stride] = row[l];
    }
    first = tile.first + tile.lanes;
  }
}
#endif
}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(LaneProduct);
HWY_EXPORT(LaneValues);

void lane_product(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
                  std::int64_t count, float* y, std::int64_t y_stride, bool adds) {
  if (range.lane_begin >= range.lane_end) return;
  if (!adds && range.depth_begin >= range.depth_end) {
    for (std::int64_t i = 0; i < count; ++i)
      std::fill_n(y + i * y_stride, range.lane_end - range.lane_begin, 0.0f);
    return;
  }
  HWY_DYNAMIC_DISPATCH(LaneProduct)(matrix, range, x, x_stride, count, y, y_stride, adds);
}

void lane_values(const LaneMatrix& matrix, const LaneRange& range, float* values, std::int64_t lane_stride,
                 std::int64_t depth_stride) {
  HWY_DYNAMIC_DISPATCH(LaneValues)(matrix, range, values, lane_stride, depth_stride);
}
}  // namespace laconic
#endif
