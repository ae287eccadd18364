// Products with packed codes: factors are folded and rounded here, for a run of depths and a group of lanes
// at a time; lane_sums-inl.h multiplies them with the codes of a tile. One more target than elsewhere: the
// one whose multiply-add of halves is a single instruction.
#define HWY_WANT_AVX3_DL 1
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cache/lane_product_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/tensor/dtype.h"
#include "runtime/cache/lane_sums-inl.h"

LACONIC_LANE_ATTRIBUTES();
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

constexpr int kDepths = LaneRun::depths;
constexpr int kGridsAhead = 2048;  // bytes, as kAhead
constexpr int kRunVectors = kDepths / kLanes;

// Numbers of a run, or what else fits its 64 places; what lies outside is zero.
struct RunFloats {
  Floats of[kRunVectors];

  HWY_INLINE RunFloats() {
    LACONIC_UNROLL
    for (int v = 0; v < kRunVectors; ++v) of[v] = hn::Zero(Float());
  }
  HWY_INLINE explicit RunFloats(const float* from) {
    LACONIC_UNROLL
    for (int v = 0; v < kRunVectors; ++v) of[v] = hn::LoadU(Float(), from + v * kLanes);
  }
  HWY_INLINE void store(float* to) const {
    LACONIC_UNROLL
    for (int v = 0; v < kRunVectors; ++v) hn::Store(of[v], Float(), to + v * kLanes);
  }
};

HWY_INLINE RunFloats Times(const RunFloats& a, const RunFloats& b) {
  RunFloats product;
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; ++v) product.of[v] = hn::Mul(a.of[v], b.of[v]);
  return product;
}
HWY_INLINE RunFloats Times(const RunFloats& a, float factor) {
  RunFloats product;
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; ++v) product.of[v] = hn::Mul(a.of[v], hn::Set(Float(), factor));
  return product;
}
HWY_INLINE RunFloats Plus(const RunFloats& a, const RunFloats& b) {
  RunFloats sum;
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; ++v) sum.of[v] = hn::Add(a.of[v], b.of[v]);
  return sum;
}
HWY_INLINE RunFloats LargerMagnitudes(const RunFloats& a, const RunFloats& b) {
  RunFloats most;
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; ++v) most.of[v] = hn::Max(a.of[v], hn::Abs(b.of[v]));
  return most;
}
HWY_INLINE float LargestMagnitude(const RunFloats& a) {
  const Float d;
  auto most = hn::Abs(a.of[0]);
  LACONIC_UNROLL
  for (int v = 1; v < kRunVectors; ++v) most = hn::Max(most, hn::Abs(a.of[v]));
  return hn::GetLane(hn::MaxOfLanes(d, most));
}

// To the nearest integers, which 16 bits can hold.
HWY_INLINE Ints Nearest(Floats a) {
#if HWY_TARGET <= HWY_AVX3
  return Ints{_mm512_cvtps_epi32(a.raw)};
#elif HWY_TARGET <= HWY_AVX2
  return Ints{_mm256_cvtps_epi32(a.raw)};
#else
  return hn::NearestInt(a);
#endif
}
HWY_INLINE void RoundTo(const RunFloats& a, std::int32_t* pairs) {
  auto* to = reinterpret_cast<std::int16_t*>(pairs);
#if HWY_TARGET <= HWY_AVX3
  // Two vectors are narrowed at once, in blocks of 128 bits that are put in order afterwards.
  const Short d16;
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; v += 2) {
    const __m512i both = _mm512_packs_epi32(Nearest(a.of[v]).raw, Nearest(a.of[v + 1]).raw);
    hn::StoreU(Shorts{_mm512_permutexvar_epi64(order, both)}, d16, to + v * kLanes);
  }
#else
  const hn::Rebind<std::int16_t, Float> d16;
  LACONIC_UNROLL
  for (int v = 0; v < kRunVectors; ++v) hn::StoreU(hn::DemoteTo(d16, Nearest(a.of[v])), d16, to + v * kLanes);
#endif
}

// Numbers [at, at + count) as f32.
HWY_INLINE void LoadNumbers(const std::uint8_t* from, bool half, std::int64_t at, std::int64_t count,
                            float* to) {
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

HWY_INLINE RunFloats LoadRun(const std::uint8_t* from, bool half, std::int64_t at, std::int64_t count) {
  if (half && count == kDepths) {
    const hn::Rebind<hwy::float16_t, Float> d16;
    const hn::Repartition<std::uint8_t, decltype(d16)> d8;
    FetchAhead(from + at * 2 + kGridsAhead);
    FetchAhead(from + at * 2 + kGridsAhead + 64);
    RunFloats run;
    LACONIC_UNROLL
    for (int v = 0; v < kRunVectors; ++v)
      run.of[v] = hn::PromoteTo(Float(), hn::BitCast(d16, hn::LoadU(d8, from + (at + v * kLanes) * 2)));
    return run;
  }
  alignas(64) float numbers[kDepths] = {};
  LoadNumbers(from, half, at, count, numbers);
  return RunFloats(numbers);
}

// offset + (2^(bits-1) - centre) step.
HWY_INLINE RunFloats MiddlesOf(const LaneGrids& grids, int bits, std::int64_t at, std::int64_t count,
                               const RunFloats& step) {
  RunFloats middle;
  if (grids.offset != nullptr) middle = LoadRun(grids.offset, grids.half, at, count);
  const int half_range = 1 << (bits - 1);
  if (grids.centre != nullptr) {
    alignas(64) float factor[kDepths] = {};
    for (std::int64_t i = 0; i < count; ++i)
      factor[i] = static_cast<float>(half_range - grids.centre[at + i]);
    return Plus(middle, Times(RunFloats(factor), step));
  }
  if (half_range == grids.fixed_centre) return middle;
  return Plus(middle, Times(step, static_cast<float>(half_range - grids.fixed_centre)));
}

using Four = hn::Vec<hn::FixedTag<float, 4> >;
template <class D>
HWY_INLINE Four Halved(D, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return Halved(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return v;
  }
}
// The sum of a run in 16 chains, the chains added in halves until four partial sums are left.
HWY_INLINE Four ChainsOf(const RunFloats& a) {
  constexpr int vectors = LaneRun::chains / kLanes;
  Floats chains[vectors];
  LACONIC_UNROLL
  for (int v = 0; v < vectors; ++v) chains[v] = a.of[v];
  LACONIC_UNROLL
  for (int v = vectors; v < kRunVectors; ++v) chains[v % vectors] = hn::Add(chains[v % vectors], a.of[v]);
  for (int half = vectors / 2; half > 0; half /= 2) {
    for (int v = 0; v < half; ++v) chains[v] = hn::Add(chains[v], chains[v + half]);
  }
  return Halved(Float(), chains[0]);
}
// Partial sums 0 + 1 and 2 + 3 of a, then of b.
HWY_INLINE Four PairSums(Four a, Four b) {
  const hn::FixedTag<float, 4> d4;
  return hn::Add(hn::ConcatEven(d4, b, a), hn::ConcatOdd(d4, b, a));
}
// The sums of up to four runs.
template <int queries>
HWY_INLINE void StoreSums(const Four* chains, float* sums) {
  const hn::FixedTag<float, 4> d4;
  const Four zero = hn::Zero(d4);
  const Four first = PairSums(chains[0], queries > 1 ? chains[1 % queries] : zero);
  const Four second = queries > 2 ? PairSums(chains[2 % queries], chains[3 % queries]) : zero;
  hn::StoreU(PairSums(first, second), d4, sums);
}

// Factors of a run for one group of lanes.
struct Factors {
  alignas(64) std::int32_t pairs[LaneRun::most_queries][kFactorRow];
  alignas(16) float constants[LaneRun::most_queries];
  std::int32_t raised[LaneRun::most_queries];
};

template <int queries>
HWY_INLINE void RoundFactors(const RunFloats& a, int bits, int m, Factors& factors) {
  RoundTo(a, factors.pairs[m]);
  if constexpr (kRaises<queries>) {
    const Int d;
    auto sum = Nearest(a.of[0]);
    LACONIC_UNROLL
    for (int v = 1; v < kRunVectors; ++v) sum = hn::Add(sum, Nearest(a.of[v]));
    factors.raised[m] = hn::GetLane(hn::SumOfLanes(d, sum)) * (1 << (bits - 1));
  }
}

// The queries of a run, where they lie if the run is whole.
template <int queries>
HWY_INLINE void TakeQueries(const LaneRange& range, const float* from, std::int64_t stride, int count,
                            LaneRun& run, const float** x) {
  run.queries = count;
  if (run.whole()) {
    for (int m = 0; m < count; ++m) x[m] = from + m * stride + (run.begin - range.depth_begin);
  } else {
    run.copy(range, from, stride, count);
    for (int m = 0; m < count; ++m) x[m] = run.x[m];
  }
  if (count == queries) return;  // three are computed as four
  std::fill_n(run.x[queries - 1], kDepths, 0.0f);
  x[queries - 1] = run.x[queries - 1];
}

// Grids shared by lanes: steps go into the factors of each group of lanes. The factors of some runs and
// groups are computed before the first tile: behind the products of a tile, little of what follows would be
// under way.
template <int queries>
class FoldedRuns {
 public:
  static constexpr std::int64_t most_units = LaneRun::most_groups;  // runs x groups

  FoldedRuns(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
             int count)
      : matrix_(matrix), range_(range), x_(x), x_stride_(x_stride), count_(count) {}

  void add(float* y, std::int64_t y_stride, bool adds) {
    const std::int64_t begin = matrix_.grids.group_of(range_.lane_begin);
    const std::int64_t end = matrix_.grids.group_of(range_.lane_end - 1) + 1;
    for (first_ = begin; first_ < end; first_ += groups_) {
      groups_ = std::min<std::int64_t>(end - first_, LaneRun::most_groups);
      const std::int64_t most_runs = most_units / groups_;
      bool later = adds;
      for (std::int64_t at = range_.depth_begin; at < range_.depth_end; later = true) {
        for (count_runs_ = 0; count_runs_ < most_runs && at < range_.depth_end; ++count_runs_) {
          OneRun& one = runs_[count_runs_];
          one.run.place(matrix_, range_, at);
          scale(one, steps_ + count_runs_ * groups_);
          at = one.run.end;
        }
        for (std::int64_t r = 0; r < count_runs_; ++r) {
          for (std::int64_t g = 0; g < groups_; ++g)
            fold(runs_[r], first_ + g, steps_[r * groups_ + g], factors_[r * groups_ + g]);
        }
        for (std::int64_t g = 0; g < groups_; ++g) add_group(g, y, y_stride, later);
      }
    }
  }

 private:
  struct OneRun {
    LaneRun run;
    PlainRun words;
    std::optional<RunPlan> plan;
    const float* x[queries];
    alignas(64) float scaled[queries][kDepths];  // x in units of the run's scale
    float per_unit;
  };

  // Loads the steps of all groups and finds the scales of the queries.
  HWY_INLINE void scale(OneRun& one, float (*to)[kDepths]) const {
    const LaneGrids& grids = matrix_.grids;
    LaneRun& run = one.run;
    one.words = PlainRun(*matrix_.layout, run);
    one.plan.reset();
    TakeQueries<queries>(range_, x_, x_stride_, count_, run, one.x);
    RunFloats largest;
    for (std::int64_t g = 0; g < groups_; ++g) {
      const RunFloats steps =
          LoadRun(grids.step, grids.half, (first_ + g) * grids.columns + run.base, run.size());
      largest = LargerMagnitudes(largest, steps);
      steps.store(to[g]);
    }
    const float unit = LargestMagnitude(largest);
    one.per_unit = LaneRun::inverse_of_unit(unit);
    largest = Times(largest, one.per_unit);
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) {
      const RunFloats here(one.x[m]);
      run.set_scale(m, LargestMagnitude(Times(here, largest)), unit);
      Times(here, run.inverse[m]).store(one.scaled[m]);
    }
  }

  HWY_INLINE void fold(const OneRun& one, std::int64_t group, const float* stored, Factors& factors) const {
    const RunFloats plain(stored), steps = Times(plain, one.per_unit);
    const RunFloats middles = MiddlesOf(matrix_.grids, matrix_.layout->bits(),
                                        group * matrix_.grids.columns + one.run.base, one.run.size(), plain);
    Four chains[queries];
    LACONIC_UNROLL
    for (int m = 0; m < queries; ++m) {
      RoundFactors<queries>(Times(RunFloats(one.scaled[m]), steps), matrix_.layout->bits(), m, factors);
      chains[m] = ChainsOf(Times(RunFloats(one.x[m]), middles));
    }
    StoreSums<queries>(chains, factors.constants);
  }

  HWY_INLINE void add_group(std::int64_t g, float* y, std::int64_t y_stride, bool adds) {
    const LaneGrids& grids = matrix_.grids;
    const std::int64_t lane_bytes = matrix_.layout->lane_bytes();
    std::int64_t begin = 0, end = matrix_.lanes;  // of the group
    if (grids.group > 0) {
      begin = std::max<std::int64_t>(0, (first_ + g) * grids.group - grids.origin);
      end = std::min(end, (first_ + g + 1) * grids.group - grids.origin);
    }
    const std::int64_t stop = std::min(end, range_.lane_end);
    for (std::int64_t tile = begin + (std::max(begin, range_.lane_begin) - begin) / kTile * kTile;
         tile < stop; tile += kTile) {
      const TilePart part{matrix_.codes + tile * lane_bytes, std::min<std::int64_t>(kTile, end - tile),
                          std::max<std::int64_t>(0, range_.lane_begin - tile),
                          std::min<std::int64_t>(kTile, stop - tile)};
      float* to = y + (tile + part.begin - range_.lane_begin);
      for (std::int64_t r = 0; r < count_runs_; ++r) {
        const Factors& factors = factors_[r * groups_ + g];
        const TileTerms terms{runs_[r].run.scale, factors.constants, factors.raised, nullptr, nullptr};
        AddTile<queries, false>(*matrix_.layout, runs_[r].run, runs_[r].words, runs_[r].plan,
                                factors.pairs[0], part, terms, count_, to, y_stride, adds || r > 0);
      }
    }
  }

  const LaneMatrix& matrix_;
  const LaneRange& range_;
  const float* x_;
  std::int64_t x_stride_;
  int count_;
  std::int64_t first_ = 0, groups_ = 0, count_runs_ = 0;
  alignas(64) float steps_[most_units][kDepths];
  OneRun runs_[most_units];
  Factors factors_[most_units];
};

// Grids shared by the depths of the run: its sums are scaled lane by lane.
template <int queries>
void ScaledRun(const LaneMatrix& matrix, const LaneRange& range, LaneRun& run, const float* const* x,
               float* y, std::int64_t y_stride, bool adds) {
  static_assert(kTile <= kDepths);
  const LaneGrids& grids = matrix.grids;
  const std::int64_t lane_bytes = matrix.layout->lane_bytes();
  const int bits = matrix.layout->bits();
  Factors factors;
  Four chains[queries];
  LACONIC_UNROLL
  for (int m = 0; m < queries; ++m) {
    const RunFloats here(x[m]);
    chains[m] = ChainsOf(here);
    run.set_scale(m, LargestMagnitude(here), 1.0f);
    RoundFactors<queries>(Times(here, run.inverse[m]), bits, m, factors);
  }
  StoreSums<queries>(chains, factors.constants);
  const PlainRun plain(*matrix.layout, run);
  std::optional<RunPlan> plan;
  alignas(64) float step[kDepths], middle[kDepths];
  const std::int64_t from = grids.group_of(run.begin) * grids.columns;
  // Steps are loaded for two tiles at a time, as many as a run has places.
  for (std::int64_t first = range.lane_begin / kDepths * kDepths; first < range.lane_end; first += kDepths) {
    const std::int64_t count = std::min<std::int64_t>(kDepths, matrix.lanes - first);
    const RunFloats steps = LoadRun(grids.step, grids.half, from + first, count);
    steps.store(step);
    MiddlesOf(grids, bits, from + first, count, steps).store(middle);
    for (std::int64_t at = 0; at < count; at += kTile) {
      const std::int64_t tile = first + at, lanes = std::min<std::int64_t>(kTile, matrix.lanes - tile);
      const TilePart part{matrix.codes + tile * lane_bytes, lanes,
                          std::max<std::int64_t>(0, range.lane_begin - tile),
                          std::min(lanes, range.lane_end - tile)};
      if (part.begin >= part.end) continue;
      const TileTerms here{run.scale, factors.constants, factors.raised, step + at, middle + at};
      AddTile<queries, true>(*matrix.layout, run, plain, plan, factors.pairs[0], part, here, run.queries,
                             y + (tile + part.begin - range.lane_begin), y_stride, adds);
    }
  }
}

template <int queries>
void ProductOf(const LaneMatrix& matrix, const LaneRange& range, const float* x, std::int64_t x_stride,
               int count, float* y, std::int64_t y_stride, bool adds) {
  if (!matrix.grids.along_depth)
    return FoldedRuns<queries>(matrix, range, x, x_stride, count).add(y, y_stride, adds);
  LaneRun run;
  const float* here[queries];
  for (std::int64_t at = range.depth_begin; at < range.depth_end; at = run.end) {
    run.place(matrix, range, at);
    TakeQueries<queries>(range, x, x_stride, count, run, here);
    ScaledRun<queries>(matrix, range, run, here, y, y_stride, adds);
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
    const std::int64_t word = part.word_of(depth);
    const int j = part.place_of(depth);
    const std::uint8_t* words = tile + part.offset * lanes;
    auto bits = hn::Zero(du);
    if (word < part.words) {
      bits = hn::BitCast(du, LoadLanes(words + (word * lanes + lane) * 4, valid));
      bits = hn::ShiftRightSame(bits, 16 * (j % 2) + part.width() * (j / 2));
    } else {
      const int at = j * part.width();
      const std::uint8_t* from = words + part.words * lanes * 4 + at / 8 * lanes + lane;
      alignas(64) std::uint32_t wide[kLanes] = {};
      for (std::int64_t l = 0; l < valid; ++l) wide[l] = from[l];
      bits = hn::ShiftRightSame(hn::Load(du, wide), at % 8);
    }
    bits = hn::And(bits, hn::Set(du, (1u << part.width()) - 1u));
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
