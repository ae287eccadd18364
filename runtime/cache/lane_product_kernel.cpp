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
namespace {

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

// Steps and middles of grids [at, at + count), padded with zeros to a whole number of chains.
HWY_INLINE void LoadGrids(const LaneGrids& grids, int bits, std::int64_t at, std::int64_t count, float* step,
                          float* middle) {
  const Float d;
  const std::int64_t padded = LaneRun::padded(count);
  if (padded > count) std::fill(step + count, step + padded, 0.0f);
  LoadNumbers(grids.step, grids.half, at, count, step);
  if (grids.offset != nullptr) {
    if (padded > count) std::fill(middle + count, middle + padded, 0.0f);
    LoadNumbers(grids.offset, grids.half, at, count, middle);
  } else {
    std::fill(middle, middle + padded, 0.0f);
  }
  const int half_range = 1 << (bits - 1);
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

// What of a part a run of depths touches, the same in every tile.
struct PartRun {
  int width = 0, shift = 0, tail_bytes = 0;
  bool top = false;
  std::int64_t offset = 0;  // bytes per lane before the part
  std::int64_t first_word = 0, last_word = 0, words = 0;
  std::int64_t first_pair = 0;        // of the first word, in the factors of the run
  int first_tail = 0, last_tail = 0;  // depths of the tail
  std::int64_t tail_at = 0;           // its first depth, in the factors of the run
};

struct RunPlan {
  PartRun parts[3];
  int count = 0;
  bool plain = false;  // one part, and words only

  RunPlan(const LaneCodes& layout, const LaneRun& depths) {
    for (const LanePart& part : layout.parts()) {
      const std::int64_t per_word = part.per_word(), first_tail = part.words * per_word;
      PartRun& run = parts[count++];
      run.width = part.width;
      run.shift = part.shift;
      run.tail_bytes = part.tail_bytes;
      run.top = part.top;
      run.offset = part.offset;
      run.words = part.words;
      run.first_word = depths.begin / per_word;
      run.last_word = std::max(run.first_word, std::min(part.words, (depths.end + per_word - 1) / per_word));
      run.first_pair = (run.first_word * per_word - depths.base) / 2;
      if (depths.end <= first_tail) continue;
      run.first_tail = static_cast<int>(std::max<std::int64_t>(depths.begin - first_tail, 0));
      run.last_tail = static_cast<int>(depths.end - first_tail);
      run.tail_at = first_tail - depths.base;
    }
    plain = count == 1 && parts[0].last_tail == 0;
  }
};

// What a run gives to the lanes of a tile, added to y: scale sum + constant, or step (scale sum) + middle
// constant.
struct TileTerms {
  float scale[LaneRun::most_queries] = {}, constant[LaneRun::most_queries] = {};
  const float *step = nullptr, *middle = nullptr;  // of the tile's lanes
};

template <bool scaled>
HWY_INLINE Floats TermOf(Ints sum, const TileTerms& terms, int m, std::int64_t lane) {
  const Float d;
  const auto value = hn::Mul(hn::Set(d, terms.scale[m]), hn::ConvertTo(d, sum));
  const auto constant = hn::Set(d, terms.constant[m]);
  if constexpr (!scaled) return hn::Add(value, constant);
  return hn::Add(hn::Mul(hn::Load(d, terms.step + lane), value),
                 hn::Mul(hn::Load(d, terms.middle + lane), constant));
}

template <int queries, int vectors>
HWY_INLINE void Start(Sums<queries, vectors>& sums) {
  LACONIC_UNROLL
  for (int i = 0; i < queries * vectors; ++i) sums.of[i] = sums.more[i] = hn::Zero(Int());
}

// A tile of 32 lanes whose codes are of one part: the sums stay in registers until they are added to y.
template <int width, int queries, bool scaled>
void WholeTile(const std::uint8_t* words, std::int64_t count, const std::int32_t* const* x,
               const TileTerms& terms, float* const* y, bool adds) {
  const Float d;
  constexpr int vectors = 2;
  for (int lane = 0; lane < kTile; lane += vectors * kLanes) {
    Sums<queries, vectors> sums;
    Start(sums);
    const std::uint8_t* from = words + lane * 4;
    for (std::int64_t i = 0; i < count; ++i) {
      const Byte d8;
      const Short d16;
      const Shorts word[vectors] = {hn::BitCast(d16, hn::LoadU(d8, from)),
                                    hn::BitCast(d16, hn::LoadU(d8, from + kLanes * 4))};
      AddWord<width, true, queries, vectors>(word, x, i * (16 / width), sums);
      from += kTile * 4;
    }
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) {
      LACONIC_UNROLL
      for (int v = 0; v < vectors; ++v) {
        const int i = m * vectors + v, at = lane + v * kLanes;
        auto value = TermOf<scaled>(hn::RearrangeToOddPlusEven(sums.of[i], sums.more[i]), terms, m, at);
        if (adds) value = hn::Add(hn::LoadU(d, y[m] + at), value);
        hn::StoreU(value, d, y[m] + at);
      }
    }
  }
}

template <int width, bool top, int queries>
void AddTail(const PartRun& run, const std::uint8_t* tail, std::int64_t lanes, std::int64_t valid,
             const std::int32_t* const* x, Sums<queries, 1>& sums) {
  const Int d;
  const Word du;
  const Short d16;
  alignas(64) std::uint32_t words[kLanes] = {};
  for (int b = 0; b < run.tail_bytes; ++b) {
    for (std::int64_t l = 0; l < std::min<std::int64_t>(valid, kLanes); ++l)
      words[l] |= std::uint32_t{tail[b * lanes + l]} << (8 * b);
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

// to[m][l] = (or += when `adds`) the sums of one part of a tile, as they stand in the code.
template <int width, bool top, int queries>
void PartSums(const PartRun& run, const std::uint8_t* tile, std::int64_t lanes, const std::int32_t* const* x,
              bool adds, std::int32_t (*to)[kTile]) {
  const Int d;
  const std::uint8_t* words = tile + run.offset * lanes;
  for (std::int64_t lane = 0; lane < lanes; lane += kLanes) {
    Sums<queries, 1> sums;
    Start(sums);
    for (std::int64_t i = run.first_word; i < run.last_word; ++i) {
      const Shorts word[1] = {LoadLanes(words + (i * lanes + lane) * 4, lanes - lane)};
      AddWord<width, top, queries, 1>(word, x, run.first_pair + (i - run.first_word) * (16 / width), sums);
    }
    if (run.first_tail < run.last_tail) {
      AddTail<width, top, queries>(run, words + run.words * lanes * 4 + lane, lanes, lanes - lane, x, sums);
    }
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) {
      auto sum = hn::ShiftLeftSame(hn::RearrangeToOddPlusEven(sums.of[m], sums.more[m]), run.shift);
      if (adds) sum = hn::Add(sum, hn::Load(d, to[m] + lane));
      hn::Store(sum, d, to[m] + lane);
    }
  }
}

template <int queries>
void TileSums(const RunPlan& plan, const std::uint8_t* tile, std::int64_t lanes, const std::int32_t* const* x,
              std::int32_t (*to)[kTile]) {
  for (int p = 0; p < plan.count; ++p) {
    const PartRun& run = plan.parts[p];
    switch (run.width) {
      case 8:  // always the top of a code, and so are four bits
        PartSums<8, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 4:
        PartSums<4, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 2:
        if (run.top) {
          PartSums<2, true, queries>(run, tile, lanes, x, p > 0, to);
        } else {
          PartSums<2, false, queries>(run, tile, lanes, x, p > 0, to);
        }
        break;
      default:
        if (run.top) {
          PartSums<1, true, queries>(run, tile, lanes, x, p > 0, to);
        } else {
          PartSums<1, false, queries>(run, tile, lanes, x, p > 0, to);
        }
        break;
    }
  }
}

template <int queries, bool scaled>
void AddWholeTile(const RunPlan& plan, const std::uint8_t* tile, const std::int32_t* const* x,
                  const TileTerms& terms, float* const* y, bool adds) {
  const PartRun& run = plan.parts[0];
  const std::uint8_t* words = tile + run.first_word * (kTile * 4);
  const std::int64_t count = run.last_word - run.first_word;
  switch (run.width) {
    case 8:
      return WholeTile<8, queries, scaled>(words, count, x, terms, y, adds);
    case 4:
      return WholeTile<4, queries, scaled>(words, count, x, terms, y, adds);
    case 2:
      return WholeTile<2, queries, scaled>(words, count, x, terms, y, adds);
    default:
      return WholeTile<1, queries, scaled>(words, count, x, terms, y, adds);
  }
}

// y[m][l] for lanes [begin, end) of a tile, from all sums of the tile.
template <bool scaled>
void AddToLanes(const std::int32_t* sums, const TileTerms& terms, int m, std::int64_t begin, std::int64_t end,
                float* y, bool adds) {
  const Float d;
  alignas(64) float row[kTile];
  for (std::int64_t l = begin / kLanes * kLanes; l < end; l += kLanes)
    hn::Store(TermOf<scaled>(hn::Load(Int(), sums + l), terms, m, l), d, row + l);
  for (std::int64_t l = begin; l < end; ++l) y[l] = adds ? y[l] + row[l] : row[l];
}

// What a run gives to the lanes of a tile that are in the range.
template <int queries, bool scaled>
void AddTile(const LaneMatrix& matrix, const LaneRange& range, const LaneMatrix::Tile& tile,
             const LaneRun& run, const RunPlan& plan, const TileTerms& terms, float* y, std::int64_t y_stride,
             bool adds) {
  const std::uint8_t* codes = matrix.tile(tile.first);
  const std::int32_t* x[queries];
  for (int m = 0; m < queries; ++m) x[m] = run.factor[m] + (plan.plain ? plan.parts[0].first_pair : 0);
  float* to = y + (tile.first - range.lane_begin);
  if (plan.plain && tile.lanes == kTile && tile.first >= range.lane_begin &&
      tile.first + kTile <= range.lane_end) {
    alignas(64) float unused[kTile];
    float* rows[queries];
    for (int m = 0; m < queries; ++m) rows[m] = m < run.queries ? to + m * y_stride : unused;
    return AddWholeTile<queries, scaled>(plan, codes, x, terms, rows, adds);
  }
  if (plan.plain) {
    for (int m = 0; m < queries; ++m) x[m] = run.factor[m];
  }
  alignas(64) std::int32_t sums[queries][kTile];
  TileSums<queries>(plan, codes, tile.lanes, x, sums);
  const std::int64_t begin = std::max<std::int64_t>(range.lane_begin - tile.first, 0);
  const std::int64_t end = std::min(range.lane_end - tile.first, tile.lanes);
  for (int m = 0; m < run.queries; ++m)
    AddToLanes<scaled>(sums[m], terms, m, begin, end, to + m * y_stride, adds);
}

// Largest |x step| (or |x|).
HWY_INLINE float LargestOf(const float* x, const float* step, std::int64_t size) {
  const Float d;
  auto largest = hn::Zero(d);
  for (std::int64_t i = 0; i < size; i += kLanes) {
    auto v = hn::Load(d, x + i);
    if (step != nullptr) v = hn::Mul(v, hn::Load(d, step + i));
    largest = hn::Max(largest, hn::Abs(v));
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

HWY_INLINE void Scale(const float* x, float factor, std::int64_t size, float* y) {
  const Float d;
  const auto factors = hn::Set(d, factor);
  for (std::int64_t i = 0; i < size; i += kLanes) hn::Store(hn::Mul(hn::Load(d, x + i), factors), d, y + i);
}

// x step (or x) to the nearest integers.
HWY_INLINE void RoundFactors(const float* x, const float* step, std::int64_t size, std::int32_t* factor) {
  const Float d;
  const hn::Rebind<std::int16_t, Float> d16;
  auto* to = reinterpret_cast<std::int16_t*>(factor);
  for (std::int64_t i = 0; i < size; i += kLanes) {
    auto v = hn::Load(d, x + i);
    if (step != nullptr) v = hn::Mul(v, hn::Load(d, step + i));
    hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(v)), d16, to + i);
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
      auto product = hn::Load(d, x + i + v * kLanes);
      if (y != nullptr) product = hn::Mul(product, hn::Load(d, y + i + v * kLanes));
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

// Grids shared by lanes: steps go into the factors of each group of lanes. Groups [first, last], at most
// most_groups of them, share the scales of their factors.
template <int queries>
void FoldedRun(const LaneMatrix& matrix, const LaneRange& range, LaneRun& run, const RunPlan& plan,
               std::int64_t first, std::int64_t last, float* y, std::int64_t y_stride, bool adds) {
  const LaneGrids& grids = matrix.grids;
  const Float d;
  const std::int64_t size = run.size(), padded = run.padded_size();
  alignas(64) float step[LaneRun::most_groups][LaneRun::depths],
      middle[LaneRun::most_groups][LaneRun::depths];
  alignas(64) float largest[LaneRun::depths] = {}, factors[queries][LaneRun::depths];
  for (std::int64_t group = first; group <= last; ++group) {
    float* steps = step[group - first];
    LoadGrids(grids, matrix.layout->bits(), group * grids.columns + run.base, size, steps,
              middle[group - first]);
    for (std::int64_t i = 0; i < padded; i += kLanes)
      hn::Store(hn::Max(hn::Load(d, largest + i), hn::Abs(hn::Load(d, steps + i))), d, largest + i);
  }
  const float unit = LargestOf(largest, nullptr, padded), per_unit = LaneRun::inverse_of_unit(unit);
  Scale(largest, per_unit, padded, largest);
  TileTerms terms;
  for (int m = 0; m < run.queries; ++m) {
    run.set_scale(m, LargestOf(run.x[m], largest, padded), unit);
    terms.scale[m] = run.scale[m];
    Scale(run.x[m], run.inverse[m], padded, factors[m]);
  }
  for (std::int64_t group = first; group <= last; ++group) {
    float* steps = step[group - first];
    Scale(steps, per_unit, padded, steps);
    for (int m = 0; m < run.queries; ++m) {
      RoundFactors(factors[m], steps, padded, run.factor[m]);
      terms.constant[m] = ChainSum(run.x[m], middle[group - first], padded);
    }
    std::int64_t lane = grids.group == 0 ? 0 : std::max<std::int64_t>(0, group * grids.group - grids.origin);
    lane = std::max(lane, range.lane_begin);
    const std::int64_t end = std::min(range.lane_end, grids.group_end(lane, matrix.lanes));
    while (lane < end) {
      const LaneMatrix::Tile tile = matrix.tile_of(lane);
      AddTile<queries, false>(matrix, range, tile, run, plan, terms, y, y_stride, adds);
      lane = tile.first + tile.lanes;
    }
  }
}

// Grids shared by the depths of the run: its sums are scaled lane by lane.
template <int queries>
void ScaledRun(const LaneMatrix& matrix, const LaneRange& range, LaneRun& run, const RunPlan& plan, float* y,
               std::int64_t y_stride, bool adds) {
  const LaneGrids& grids = matrix.grids;
  const std::int64_t padded = run.padded_size();
  alignas(64) float step[kTile], middle[kTile], factors[LaneRun::depths];
  TileTerms terms;
  terms.step = step;
  terms.middle = middle;
  for (int m = 0; m < run.queries; ++m) {
    run.set_scale(m, LargestOf(run.x[m], nullptr, padded), 1.0f);
    terms.scale[m] = run.scale[m];
    Scale(run.x[m], run.inverse[m], padded, factors);
    RoundFactors(factors, nullptr, padded, run.factor[m]);
    terms.constant[m] = ChainSum(run.x[m], nullptr, padded);
  }
  const std::int64_t from = grids.group_of(run.begin) * grids.columns;
  for (std::int64_t lane = range.lane_begin; lane < range.lane_end;) {
    const LaneMatrix::Tile tile = matrix.tile_of(lane);
    LoadGrids(grids, matrix.layout->bits(), from + tile.first, tile.lanes, step, middle);
    AddTile<queries, true>(matrix, range, tile, run, plan, terms, y, y_stride, adds);
    lane = tile.first + tile.lanes;
  }
}

template <int queries>
void ProductOf(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
               int count, float* y, std::int64_t y_stride, bool adds) {
  LaneRun run;
  for (std::int64_t at = range.depth_begin; at < range.depth_end; at = run.end) {
    run.take(matrix, range, at, x, x_stride, count);
    const RunPlan plan(*matrix.layout, run);
    if (matrix.grids.along_depth) {
      ScaledRun<queries>(matrix, range, run, plan, y, y_stride, adds);
    } else {
      const std::int64_t last = matrix.grids.group_of(range.lane_end - 1);
      for (std::int64_t group = matrix.grids.group_of(range.lane_begin); group <= last;
           group += LaneRun::most_groups) {
        FoldedRun<queries>(matrix, range, run, plan, group, std::min(last, group + LaneRun::most_groups - 1),
                           y, y_stride, adds);
      }
    }
    adds = true;
  }
}

// Codes of one depth of the lanes of a vector, as numbers from 0 on.
HWY_INLINE Ints CodesOf(const LaneCodes& layout, const std::uint8_t* tile, std::int64_t lanes,
                        std::int64_t lane, std::int64_t depth) {
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

}  // namespace

void LaneProduct(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
                 std::int64_t count, float* y, std::int64_t y_stride, bool adds) {
  for (std::int64_t first = 0; first < count; first += LaneRun::most_queries) {
    const int queries = static_cast<int>(std::min<std::int64_t>(LaneRun::most_queries, count - first));
    const float* from = x + first * x_stride;
    float* to = y + first * y_stride;
    switch (queries) {
      case 1:
        ProductOf<1>(matrix, range, from, x_stride, queries, to, y_stride, adds);
        break;
      case 2:
        ProductOf<2>(matrix, range, from, x_stride, queries, to, y_stride, adds);
        break;
      default:  // of three, the fourth is not used
        ProductOf<4>(matrix, range, from, x_stride, queries, to, y_stride, adds);
        break;
    }
  }
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
