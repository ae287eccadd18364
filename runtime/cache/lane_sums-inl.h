// The integer sums of lane_product_kernel.cpp. For every word of 32 bits a lane and every pair of depths in
// it, a shift and a mask leave the codes of the pair in the halves of each lane; one multiply-add of 16-bit
// halves into 32-bit lanes, two products an instruction, then takes in a query. Four queries share the
// unpacking. Of one or two, unpacking would take longer than the products: some pairs then stay where they
// stand in the word, which multiplies their codes by a power of two, and have sums of their own. Included
// once per target (Highway's -inl.h pattern).
#if defined(LACONIC_RUNTIME_CACHE_LANE_SUMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LACONIC_RUNTIME_CACHE_LANE_SUMS_INL_H
#undef LACONIC_RUNTIME_CACHE_LANE_SUMS_INL_H
#else
#define LACONIC_RUNTIME_CACHE_LANE_SUMS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime/cache/lane_run.h"

// Loops over a fixed number of vectors must be unrolled, or the sums would live in memory.
#ifndef LACONIC_UNROLL
#if defined(__clang__)
#define LACONIC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LACONIC_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

// Highway 1.0.3 calls the dot products of this target by the name of their short form only.
#undef LACONIC_LANE_ATTRIBUTES
#if HWY_TARGET == HWY_AVX3_DL
#define LACONIC_LANE_ATTRIBUTES() \
  HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni") static_assert(true, "takes a semicolon")
#else
#define LACONIC_LANE_ATTRIBUTES() HWY_BEFORE_NAMESPACE()
#endif

LACONIC_LANE_ATTRIBUTES();
namespace laconic {
namespace HWY_NAMESPACE {
#if !HWY_HAVE_SCALABLE && HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;
namespace {

constexpr int kLanes = HWY_LANES(std::int32_t) < 16 ? HWY_LANES(std::int32_t) : 16;
constexpr int kTile = LaneCodes::tile_lanes;
// Codes are fetched so many bytes before they are used: tiles of neighbouring lanes, and words of one tile,
// follow each other in memory, and between two calls others are read. They go to the second-level cache: the
// first has room for fewer lines that are on their way.
constexpr int kAhead = 4096;
HWY_INLINE void FetchAhead([[maybe_unused]] const std::uint8_t* at) {
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  __builtin_prefetch(at, 0, 2);
#endif
}
constexpr int kFactorRow = LaneRun::depths / 2;  // pairs of a query's factors
using Int = hn::CappedTag<std::int32_t, kLanes>;
using Word = hn::RebindToUnsigned<Int>;
using Float = hn::Rebind<float, Int>;
using Short = hn::Repartition<std::int16_t, Int>;
using UnsignedShort = hn::Repartition<std::uint16_t, Int>;
using Byte = hn::Repartition<std::uint8_t, Int>;
using Ints = hn::Vec<Int>;
using Shorts = hn::Vec<Short>;
using Floats = hn::Vec<Float>;

// How the pairs of a word are unpacked: pair k is shifted down by whole `places` pairs and stands k % places
// pairs above bit 0. Such codes have no sign: those of the top part are raised by half of their range, and
// what that adds to a sum is taken away from it, half the range times the sum of the factors.
template <int queries>
constexpr bool kRaises = queries <= 2 && HWY_TARGET <= HWY_AVX3;
template <int width, int queries>
struct Unpacking {
  static constexpr int fitting = 8 / width < 4 ? 8 / width : 4;
  static constexpr int places = kRaises<queries> ? fitting : 1;
};

// The codes of pair k of a word, in the halves of each lane, times 2^(width (k % places)).
template <int width, bool top, int places, int k>
HWY_INLINE Shorts Pair(Shorts word) {
  constexpr int last = 16 / width - 1, shift = k / places * places * width;
  constexpr unsigned mask = ((1u << width) - 1u) << (k % places * width);
  if constexpr (top && places == 1) {
    if constexpr (k < last) word = hn::ShiftLeft<16 - width*(k + 1)>(word);
    return hn::ShiftRight<16 - width>(word);
  }
  const UnsignedShort du;
  auto bits = hn::BitCast(du, word);
  if constexpr (shift > 0) bits = hn::ShiftRight<shift>(bits);
  if constexpr (places > 1 || k < last) bits = hn::And(bits, hn::Set(du, mask));
  return hn::BitCast(Short(), bits);
}

// The top bits of all codes of a word.
template <int width>
constexpr unsigned TopBits() {
  unsigned bits = 0;
  for (int k = 0; k < 16 / width; ++k) bits |= 1u << (width * (k + 1) - 1);
  return bits;
}

// Sums of `queries` queries over `vectors` vectors of lanes, for each place of a code in its half. Where the
// instruction set widens halves apart, the second sums hold the other halves; where one instruction
// multiplies and adds, they take every other pair of few sums, or each instruction would wait for the one
// before.
template <int queries, int vectors, int places>
struct Sums {
  Ints of[queries * vectors * places], more[queries * vectors * places];
  static constexpr bool in_turn = HWY_TARGET == HWY_AVX3_DL && queries * vectors * places <= 4;

  HWY_INLINE Sums() {
    LACONIC_UNROLL
    for (int i = 0; i < queries * vectors * places; ++i) of[i] = more[i] = hn::Zero(Int());
  }
  template <int width>
  HWY_INLINE Ints total(int i) const {
    Ints all = at(i * places);
    if constexpr (places > 1) all = hn::Add(all, hn::ShiftRight<width>(at(i * places + 1)));
    if constexpr (places > 2) {
      all = hn::Add(all, hn::ShiftRight<2 * width>(at(i * places + 2)));
      all = hn::Add(all, hn::ShiftRight<3 * width>(at(i * places + 3)));
    }
    return all;
  }

 private:
  HWY_INLINE Ints at(int i) const {
    if constexpr (in_turn) return hn::Add(of[i], more[i]);
    return hn::RearrangeToOddPlusEven(of[i], more[i]);
  }
};

// sum += the two products of each lane.
HWY_INLINE void MultiplyAdd(Shorts codes, Shorts factor, Ints& sum, [[maybe_unused]] Ints& more) {
#if HWY_TARGET == HWY_AVX3_DL
  sum = Ints{_mm512_dpwssd_epi32(sum.raw, codes.raw, factor.raw)};
#else
  sum = hn::ReorderWidenMulAccumulate(Int(), codes, factor, sum, more);
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  // GCC would regroup the additions of many words, and keep their products in memory until the last.
  asm("" : "+v"(sum.raw));
#endif
#endif
}

// Pair `pair` of the factors meets codes that stand at place `place`.
template <int queries, int vectors, int places, int place, bool second>
HWY_INLINE void AddPair(const Shorts* codes, const std::int32_t* x, std::int64_t pair,
                        Sums<queries, vectors, places>& sums) {
  constexpr bool swapped = second && Sums<queries, vectors, places>::in_turn;
  LACONIC_UNROLL
  for (int m = 0; m < queries; ++m) {
    const auto factor = hn::BitCast(Short(), hn::Set(Int(), x[m * kFactorRow + pair]));
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const int i = (m * vectors + v) * places + place;
      MultiplyAdd(codes[v], factor, swapped ? sums.more[i] : sums.of[i], swapped ? sums.of[i] : sums.more[i]);
    }
  }
}

template <int width, bool top, int queries, int vectors, int places, int k = 0>
HWY_INLINE void AddWord(const Shorts* words, const std::int32_t* x, std::int64_t first_pair,
                        Sums<queries, vectors, places>& sums) {
  if constexpr (k < 16 / width) {
    Shorts codes[vectors];
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) codes[v] = Pair<width, top, places, k>(words[v]);
    AddPair<queries, vectors, places, k % places, k / places % 2 == 1>(codes, x, first_pair + k, sums);
    AddWord<width, top, queries, vectors, places, k + 1>(words, x, first_pair, sums);
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
  int log_width = 0, shift = 0, tail_bytes = 0;
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
  bool words_only = true;

  RunPlan(const LaneCodes& layout, const LaneRun& depths) {
    for (const LanePart& part : layout.parts()) {
      const std::int64_t first_tail = part.words * part.per_word();
      PartRun& run = parts[count++];
      run.log_width = part.log_width;
      run.shift = part.shift;
      run.tail_bytes = part.tail_bytes;
      run.top = part.top;
      run.offset = part.offset;
      run.words = part.words;
      run.first_word = part.word_of(depths.begin);
      run.last_word =
          std::max(run.first_word, std::min(part.words, part.word_of(depths.end + part.per_word() - 1)));
      run.first_pair = (run.first_word * part.per_word() - depths.base) / 2;
      if (depths.end <= first_tail) continue;
      words_only = false;
      run.first_tail = static_cast<int>(std::max<std::int64_t>(depths.begin - first_tail, 0));
      run.last_tail = static_cast<int>(depths.end - first_tail);
      run.tail_at = first_tail - depths.base;
    }
  }
};

// The words of a run of codes that are of one part, where it needs no others.
struct PlainRun {
  bool fits = false;
  int log_width = 0;
  std::int64_t first_word = 0, words = 0, first_pair = 0;

  PlainRun() = default;
  HWY_INLINE PlainRun(const LaneCodes& layout, const LaneRun& depths) {
    const LanePart& part = layout.parts().front();
    if (layout.parts().size() > 1 || depths.end > part.words * part.per_word()) return;
    fits = true;
    log_width = part.log_width;
    first_word = part.word_of(depths.begin);
    words = part.word_of(depths.end + part.per_word() - 1) - first_word;
    first_pair = (first_word * part.per_word() - depths.base) / 2;
  }
};

// What a run gives to the lanes of a tile, added to y: scale sum + constant, or step (scale sum) + middle
// constant.
struct TileTerms {
  const float *scale, *constant;  // by query
  const std::int32_t* raised;     // by query: what raised codes add to a sum
  const float *step, *middle;     // of the tile's lanes, or null
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

// y[m] of two vectors of lanes, from `lane` of the tile on = (or += when `adds`) the terms of their sums.
template <int queries, bool scaled>
HWY_INLINE void AddTerms(const Ints* sums, const TileTerms& terms, int lane, int stored, float* y,
                         std::int64_t y_stride, bool adds) {
  const Float d;
  LACONIC_UNROLL
  for (int i = 0; i < queries * 2; ++i) {
    const int m = i / 2, first = lane + i % 2 * kLanes;
    if (m < stored) {
      float* to = y + m * y_stride + first;
      auto value = TermOf<scaled>(sums[i], terms, m, first);
      if (adds) value = hn::Add(hn::LoadU(d, to), value);
      hn::StoreU(value, d, to);
    }
  }
}

// The sums of `count` words of two vectors of lanes of a tile of 32, from `from` on.
template <int width, bool top, int queries, int places>
HWY_INLINE void AddWords(const std::uint8_t* from, std::int64_t count, const std::int32_t* x,
                         Sums<queries, 2, places>& sums) {
  const Byte d8;
  const Short d16;
  for (std::int64_t i = 0; i < count; ++i) {
    Shorts word[2] = {hn::BitCast(d16, hn::LoadU(d8, from)),
                      hn::BitCast(d16, hn::LoadU(d8, from + kLanes * 4))};
    if constexpr (top && places > 1) {
      const auto flip =
          hn::BitCast(d16, hn::Set(UnsignedShort(), static_cast<std::uint16_t>(TopBits<width>())));
      word[0] = hn::Xor(word[0], flip);
      word[1] = hn::Xor(word[1], flip);
    }
    FetchAhead(from + kAhead);
    FetchAhead(from + kAhead + kLanes * 4);
    AddWord<width, top, queries, 2, places>(word, x, i * (16 / width), sums);
    from += kTile * 4;
  }
}

// A tile of 32 lanes whose codes are of one part: the sums stay in registers until they are added to y. Not
// inlined, or it would share its registers with what stands around it.
template <int log_width, int queries, bool scaled>
HWY_NOINLINE void WholeTile(const std::uint8_t* words, std::int64_t count, const std::int32_t* x,
                            const TileTerms& terms, int stored, float* y, std::int64_t y_stride, bool adds) {
  constexpr int width = 1 << log_width, places = Unpacking<width, queries>::places;
  for (int lane = 0; lane < kTile; lane += 2 * kLanes) {
    Sums<queries, 2, places> sums;
    AddWords<width, true, queries, places>(words + lane * 4, count, x, sums);
    Ints totals[queries * 2];
    LACONIC_UNROLL
    for (int i = 0; i < queries * 2; ++i) {
      totals[i] = sums.template total<width>(i);
      if constexpr (places > 1) totals[i] = hn::Sub(totals[i], hn::Set(Int(), terms.raised[i / 2]));
    }
    AddTerms<queries, scaled>(totals, terms, lane, stored, y, y_stride, adds);
  }
}

// The same of several parts.
template <int width, bool top, int queries>
HWY_INLINE void AddPart(const PartRun& run, const std::uint8_t* tile, int lane, const std::int32_t* x,
                        Ints* totals) {
  constexpr int places = Unpacking<width, queries>::places;
  Sums<queries, 2, places> sums;
  AddWords<width, top, queries, places>(tile + (run.offset + run.first_word * 4) * kTile + lane * 4,
                                        run.last_word - run.first_word, x + run.first_pair, sums);
  LACONIC_UNROLL
  for (int i = 0; i < queries * 2; ++i)
    totals[i] = hn::Add(totals[i], hn::ShiftLeftSame(sums.template total<width>(i), run.shift));
}

template <int queries, bool scaled>
HWY_NOINLINE void WholeTileOfParts(const RunPlan& plan, const std::uint8_t* tile, const std::int32_t* x,
                                   const TileTerms& terms, int stored, float* y, std::int64_t y_stride,
                                   bool adds) {
  for (int lane = 0; lane < kTile; lane += 2 * kLanes) {
    Ints totals[queries * 2];
    LACONIC_UNROLL
    for (int i = 0; i < queries * 2; ++i) {
      totals[i] = hn::Zero(Int());
      if constexpr (kRaises<queries>) totals[i] = hn::Set(Int(), -terms.raised[i / 2]);
    }
    for (int p = 0; p < plan.count; ++p) {
      const PartRun& part = plan.parts[p];
      switch (2 * part.log_width + (part.top ? 1 : 0)) {
        case 5:  // codes of several parts have three to seven bits
          AddPart<4, true, queries>(part, tile, lane, x, totals);
          break;
        case 3:
          AddPart<2, true, queries>(part, tile, lane, x, totals);
          break;
        case 2:
          AddPart<2, false, queries>(part, tile, lane, x, totals);
          break;
        default:
          AddPart<1, false, queries>(part, tile, lane, x, totals);
          break;
      }
    }
    AddTerms<queries, scaled>(totals, terms, lane, stored, y, y_stride, adds);
  }
}

// The depths that fill no word, for one vector of lanes.
template <int width, bool top, int queries>
void AddTail(const PartRun& run, const std::uint8_t* tail, std::int64_t lanes, std::int64_t valid,
             const std::int32_t* x, Sums<queries, 1, 1>& sums) {
  const Int d;
  const Word du;
  alignas(64) std::uint32_t words[kLanes] = {};
  for (int b = 0; b < run.tail_bytes; ++b) {
    for (std::int64_t l = 0; l < std::min<std::int64_t>(valid, kLanes); ++l)
      words[l] |= std::uint32_t{tail[b * lanes + l]} << (8 * b);
  }
  const auto word = hn::Load(du, words);
  for (int j = run.first_tail; j < run.last_tail; ++j) {
    const auto high = hn::ShiftLeftSame(word, 32 - width * (j + 1));
    auto code = hn::BitCast(d, hn::ShiftRight<32 - width>(high));
    if constexpr (top) code = hn::ShiftRight<32 - width>(hn::BitCast(d, high));
    const Shorts codes[1] = {hn::BitCast(Short(), code)};
    // The high half of a lane meets 0.
    std::int32_t factors[queries * kFactorRow];
    for (int m = 0; m < queries; ++m) {
      std::uint16_t number;
      std::memcpy(&number, reinterpret_cast<const std::uint8_t*>(x + m * kFactorRow) + (run.tail_at + j) * 2,
                  2);
      factors[m * kFactorRow] = number;
    }
    AddPair<queries, 1, 1, 0, false>(codes, factors, 0, sums);
  }
}

// to[m][l] = (or += when `adds`) the sums of one part of a tile, as they stand in the code.
template <int width, bool top, int queries>
void PartSums(const PartRun& run, const std::uint8_t* tile, std::int64_t lanes, const std::int32_t* x,
              bool adds, std::int32_t (*to)[kTile]) {
  const Int d;
  const std::uint8_t* words = tile + run.offset * lanes;
  for (std::int64_t lane = 0; lane < lanes; lane += kLanes) {
    Sums<queries, 1, 1> sums;
    for (std::int64_t i = run.first_word; i < run.last_word; ++i) {
      const Shorts word[1] = {LoadLanes(words + (i * lanes + lane) * 4, lanes - lane)};
      AddWord<width, top, queries, 1, 1>(word, x, run.first_pair + (i - run.first_word) * (16 / width), sums);
    }
    if (run.first_tail < run.last_tail) {
      AddTail<width, top, queries>(run, words + run.words * lanes * 4 + lane, lanes, lanes - lane, x, sums);
    }
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) {
      auto sum = hn::ShiftLeftSame(sums.template total<width>(m), run.shift);
      if (adds) sum = hn::Add(sum, hn::Load(d, to[m] + lane));
      hn::Store(sum, d, to[m] + lane);
    }
  }
}

// All parts of a tile of any size.
template <int queries>
void TileSums(const RunPlan& plan, const std::uint8_t* tile, std::int64_t lanes, const std::int32_t* x,
              std::int32_t (*to)[kTile]) {
  for (int p = 0; p < plan.count; ++p) {
    const PartRun& run = plan.parts[p];
    switch (2 * run.log_width + (run.top ? 1 : 0)) {
      case 7:  // eight bits are always the top of a code, and so are four
        PartSums<8, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 5:
        PartSums<4, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 3:
        PartSums<2, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 2:
        PartSums<2, false, queries>(run, tile, lanes, x, p > 0, to);
        break;
      case 1:
        PartSums<1, true, queries>(run, tile, lanes, x, p > 0, to);
        break;
      default:
        PartSums<1, false, queries>(run, tile, lanes, x, p > 0, to);
        break;
    }
  }
}

// y[m] for lanes [begin, end) of a tile, from the sums of the tile.
template <bool scaled>
void AddToLanes(const std::int32_t* sums, const TileTerms& terms, int m, std::int64_t begin, std::int64_t end,
                float* y, bool adds) {
  const Float d;
  alignas(64) float row[kTile];
  for (std::int64_t l = begin / kLanes * kLanes; l < end; l += kLanes)
    hn::Store(TermOf<scaled>(hn::Load(Int(), sums + l), terms, m, l), d, row + l);
  for (std::int64_t l = begin; l < end; ++l) y[l - begin] = adds ? y[l - begin] + row[l] : row[l];
}

// A tile and the lanes [begin, end) of it that are wanted.
struct TilePart {
  const std::uint8_t* codes;
  std::int64_t lanes, begin, end;
  bool whole() const { return begin == 0 && end == kTile; }
};

// What a run with the factors x [queries][kFactorRow] gives to lanes of a tile, added to y[m][begin] and on
// of the first `stored` queries. `plan` is made where it is needed first.
template <int queries, bool scaled>
HWY_INLINE void AddTile(const LaneCodes& layout, const LaneRun& run, const PlainRun& plain,
                        std::optional<RunPlan>& plan, const std::int32_t* x, const TilePart& tile,
                        const TileTerms& terms, int stored, float* y, std::int64_t y_stride, bool adds) {
  if (plain.fits && tile.whole()) {
    const std::uint8_t* words = tile.codes + plain.first_word * (kTile * 4);
    x += plain.first_pair;
    switch (plain.log_width) {
      case 3:
        return WholeTile<3, queries, scaled>(words, plain.words, x, terms, stored, y, y_stride, adds);
      case 2:
        return WholeTile<2, queries, scaled>(words, plain.words, x, terms, stored, y, y_stride, adds);
      case 1:
        return WholeTile<1, queries, scaled>(words, plain.words, x, terms, stored, y, y_stride, adds);
      default:
        return WholeTile<0, queries, scaled>(words, plain.words, x, terms, stored, y, y_stride, adds);
    }
  }
  if (!plan) plan.emplace(layout, run);
  if (plan->words_only && tile.whole())
    return WholeTileOfParts<queries, scaled>(*plan, tile.codes, x, terms, stored, y, y_stride, adds);
  alignas(64) std::int32_t sums[queries][kTile];
  TileSums<queries>(*plan, tile.codes, tile.lanes, x, sums);
  for (int m = 0; m < stored; ++m)
    AddToLanes<scaled>(sums[m], terms, m, tile.begin, tile.end, y + m * y_stride, adds);
}

}  // namespace
#endif
}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#endif
