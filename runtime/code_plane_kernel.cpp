// The work per vector of rows and column is one mask, one conversion and one multiply-add, for any width; see
// code_planes.h for why nothing is shifted. Up to eight chains of sums run side by side to hide the latency
// of the multiply-adds: eight vectors of rows for one input, or fewer vectors for several inputs, which then
// share mask and conversion. Where 16 lanes of a register can be looked up at once, four bits of codes are
// one index into a table of all values of q_0 x_0 + q_1 x_1 (two bits) or of four columns (one bit): a shift,
// a lookup and an addition then serve two or four columns (tables as in T-MAC, Wei et al. 2024, arXiv
// 2407.00088, but of f32).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/code_plane_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "runtime/code_plane_kernel.h"
#include "runtime/lane_table-inl.h"

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
#if HWY_HAVE_SCALABLE
// Vectors of unknown size cannot stand in arrays.
void MultiplyTile(const CodeTile& tile, std::span<const CodePart> parts, std::span<const ColumnRun> runs,
                  const TileGrid& grid, std::span<const PlaneInput* const> inputs, float* const* y) {
  multiply_tile_scalar(tile, parts, runs, grid, inputs, y);
}
void ExpandTile(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                std::int64_t stride) {
  expand_tile_scalar(tile, parts, grid, group_columns, begin, end, weights, stride);
}
void ApplySigns(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                std::int64_t stride) {
  apply_signs_scalar(tile, begin, end, weights, stride);
}
#else
namespace hn = hwy::HWY_NAMESPACE;

// Counts of vectors and lanes are below 64, and what is one branch for short vectors is two for long ones.
// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result,bugprone-branch-clone)

// At most 64 rows of a wide tile, or the 8 of a narrow one, stand in one vector.
constexpr int kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
using Wide = hn::CappedTag<float, kLanes>;
constexpr int kNarrowLanes = kLanes < 8 ? kLanes : 8;
using Narrow = hn::CappedTag<float, kNarrowLanes>;

template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D> > LoadWords(D, const std::uint32_t* from) {
  return hn::LoadU(hn::RebindToUnsigned<D>(), from);
}

// The sums of `vectors` vectors of rows for `inputs` inputs over columns [lo, hi) of one word.
template <class D, int vectors, int inputs>
struct Sums {
  hn::Vec<D> of[vectors * inputs];
};

template <class D, int vectors, int inputs>
HWY_INLINE void AddColumn(D d, const std::uint32_t* words, int width, int k, const float* const* x,
                          std::int64_t column, Sums<D, vectors, inputs>& sums) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  const bool top = k == 32 / width - 1;
  const auto mask = hn::Set(du, ((1u << width) - 1u) << (width * k));
  hn::Vec<D> activation[inputs];
  LACONIC_UNROLL
  for (int m = 0; m < inputs; ++m) activation[m] = hn::Set(d, x[m][column]);
  LACONIC_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const auto word = LoadWords(d, words + v * lanes);
    const auto code =
        hn::ConvertTo(d, hn::BitCast(di, top ? hn::ShiftRightSame(word, 32 - width) : hn::And(word, mask)));
    LACONIC_UNROLL
    for (int m = 0; m < inputs; ++m) {
      sums.of[m * vectors + v] = hn::MulAdd(code, activation[m], sums.of[m * vectors + v]);
    }
  }
}

// Whole words of codes whose four-bit pieces index tables: 1 and 2 bits.
template <class D, int width>
constexpr bool UsesTables() {
  return TableEntries<D>() == 16 && width <= 2;
}

#if HWY_TARGET <= HWY_AVX3
// Entry i: sum over c of (code c of the four bits i) scale x[c].
template <class D, int width>
struct CodeTable {
  static constexpr int columns = 4 / width;
  hn::Vec<D> code[columns];  // by entry: scale times code c
  HWY_INLINE CodeTable(D d, int shift) {
    const hn::RebindToUnsigned<D> du;
    const auto scale = hn::Set(d, static_cast<float>(1 << shift));
    LACONIC_UNROLL
    for (int c = 0; c < columns; ++c) {
      const auto bits =
          hn::And(hn::ShiftRightSame(hn::Iota(du, 0), c * width), hn::Set(du, (1u << width) - 1u));
      code[c] = hn::Mul(scale, hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<D>(), bits)));
    }
  }
  HWY_INLINE hn::Vec<D> of(D d, const float* x) const {
    auto table = hn::Mul(code[0], hn::Set(d, x[0]));
    LACONIC_UNROLL
    for (int c = 1; c < columns; ++c) table = hn::MulAdd(code[c], hn::Set(d, x[c]), table);
    return table;
  }
};

template <class D, int width, int vectors, int inputs, int piece = 0>
HWY_INLINE void AddPieces(D d, const hn::Vec<hn::RebindToUnsigned<D> >* words,
                          const CodeTable<D, width>& codes, const float* const* x, std::int64_t first,
                          Sums<D, vectors, inputs>& sums) {
  if constexpr (piece < 8) {
    hn::Vec<D> tables[inputs];
    LACONIC_UNROLL
    for (int m = 0; m < inputs; ++m) tables[m] = codes.of(d, x[m] + first + piece * codes.columns);
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const auto index = hn::ShiftRight<4 * piece>(words[v]);
      LACONIC_UNROLL
      for (int m = 0; m < inputs; ++m) {
        sums.of[m * vectors + v] = hn::Add(sums.of[m * vectors + v], LookUpLanes(d, tables[m], index));
      }
    }
    AddPieces<D, width, vectors, inputs, piece + 1>(d, words, codes, x, first, sums);
  }
}
#endif

// Columns [begin, end) of a part. `scaled` and `plain` are the inputs as PlaneInput has them.
template <class D, int width, int vectors, int inputs>
HWY_INLINE void AddPart(D d, const std::uint32_t* words, std::int64_t stride, const float* const* scaled,
                        [[maybe_unused]] const float* const* plain, [[maybe_unused]] int shift,
                        std::int64_t begin, std::int64_t end, Sums<D, vectors, inputs>& sums) {
  constexpr int per_word = 32 / width;
  std::int64_t word = begin / per_word;
#if HWY_TARGET <= HWY_AVX3
  if constexpr (UsesTables<D, width>()) {
    if (begin % per_word == 0 && end - begin >= per_word) {
      constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
      const CodeTable<D, width> codes(d, shift);
      for (; (word + 1) * per_word <= end; ++word) {
        hn::Vec<hn::RebindToUnsigned<D> > fields[vectors];
        LACONIC_UNROLL
        for (int v = 0; v < vectors; ++v) fields[v] = LoadWords(d, words + word * stride + v * lanes);
        AddPieces<D, width, vectors, inputs>(d, fields, codes, plain, word * per_word, sums);
      }
    }
  }
#endif
  for (; word * per_word < end; ++word) {
    const std::int64_t first = word * per_word;
    const std::uint32_t* from = words + word * stride;
    if (first >= begin && first + per_word <= end) {
      LACONIC_UNROLL
      for (int k = 0; k < per_word; ++k) {
        AddColumn<D, vectors, inputs>(d, from, width, k, scaled, first + k, sums);
      }
    } else {
      const auto low = static_cast<int>(std::max<std::int64_t>(begin - first, 0));
      const auto high = static_cast<int>(std::min<std::int64_t>(end - first, per_word));
#if !defined(__clang__)
#pragma GCC unroll 1
#endif
      for (int k = low; k < high; ++k) {
        AddColumn<D, vectors, inputs>(d, from, width, k, scaled, first + k, sums);
      }
    }
  }
}

template <class D>
HWY_INLINE hn::Vec<D> LoadParameter(D d, const void* from, bool half, std::int64_t at) {
  if (!half) return hn::LoadU(d, static_cast<const float*>(from) + at);
  const hn::Rebind<hwy::float16_t, D> d16;
  return hn::PromoteTo(d, hn::LoadU(d16, static_cast<const hwy::float16_t*>(from) + at));
}

template <class D>
HWY_INLINE hn::Vec<D> LoadCentre(D d, const TileGrid& grid, std::int64_t at) {
  if (grid.centre == nullptr) return hn::Set(d, grid.fixed_centre);
  const hn::Rebind<std::uint8_t, D> d8;
  const hn::RebindToSigned<D> di;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, grid.centre + at)));
}

template <class D, int vectors, int inputs>
HWY_INLINE void MultiplyRows(D d, const CodeTile& tile, std::int64_t row, std::span<const CodePart> parts,
                             std::span<const ColumnRun> runs, const TileGrid& grid,
                             const PlaneInput* const* x, float* const* y) {
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  Sums<D, vectors, inputs> total;
  LACONIC_UNROLL
  for (int i = 0; i < vectors * inputs; ++i) total.of[i] = hn::Zero(d);
  // The running totals live in y: registers belong to the chains of the run.
  LACONIC_UNROLL
  for (int i = 0; i < vectors * inputs; ++i) {
    hn::StoreU(total.of[i], d, y[i / vectors] + row + (i % vectors) * lanes);
  }
  for (std::size_t run = 0; run < runs.size(); ++run) {
    Sums<D, vectors, inputs> sums;
    LACONIC_UNROLL
    for (int i = 0; i < vectors * inputs; ++i) sums.of[i] = hn::Zero(d);
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const CodePart& part = parts[p];
      const std::uint32_t* words = tile.words + part.offset * tile.rows + row;
      const float *scaled[inputs], *plain[inputs];
      for (int m = 0; m < inputs; ++m) {
        scaled[m] = x[m]->scaled[p].data();
        plain[m] = x[m]->plain;
      }
      const std::int64_t begin = runs[run].begin, end = runs[run].end;
      switch (part.width) {
        case 1:
          AddPart<D, 1, vectors, inputs>(d, words, tile.rows, scaled, plain, part.shift, begin, end, sums);
          break;
        case 2:
          AddPart<D, 2, vectors, inputs>(d, words, tile.rows, scaled, plain, part.shift, begin, end, sums);
          break;
        case 4:
          AddPart<D, 4, vectors, inputs>(d, words, tile.rows, scaled, plain, part.shift, begin, end, sums);
          break;
        default:
          AddPart<D, 8, vectors, inputs>(d, words, tile.rows, scaled, plain, part.shift, begin, end, sums);
          break;
      }
    }
    LACONIC_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const std::int64_t at = runs[run].group * tile.rows + row + v * lanes;
      const auto scale =
          grid.scale == nullptr ? hn::Set(d, grid.fixed_scale) : LoadParameter(d, grid.scale, grid.half, at);
      const auto centre = LoadCentre(d, grid, at);
      LACONIC_UNROLL
      for (int m = 0; m < inputs; ++m) {
        const auto sum = hn::Set(d, x[m]->run_sum[run]);
        float* to = y[m] + row + v * lanes;
        auto result =
            hn::MulAdd(scale, hn::NegMulAdd(centre, sum, sums.of[m * vectors + v]), hn::LoadU(d, to));
        if (grid.offset != nullptr) {
          result = hn::MulAdd(LoadParameter(d, grid.offset, grid.half, at), sum, result);
        }
        hn::StoreU(result, d, to);
      }
    }
  }
}

template <class D, int rows, int inputs>
HWY_INLINE void MultiplyAllRows(D d, const CodeTile& tile, std::span<const CodePart> parts,
                                std::span<const ColumnRun> runs, const TileGrid& grid,
                                const PlaneInput* const* x, float* const* y) {
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  constexpr int vectors = std::min(rows / lanes, 8 / inputs);
  for (int row = 0; row < rows; row += vectors * lanes) {
    MultiplyRows<D, vectors, inputs>(d, tile, row, parts, runs, grid, x, y);
  }
}

template <int inputs>
void MultiplyFor(const CodeTile& tile, std::span<const CodePart> parts, std::span<const ColumnRun> runs,
                 const TileGrid& grid, const PlaneInput* const* x, float* const* y) {
  if (tile.rows == CodePlanes::wide_tile) {
    MultiplyAllRows<Wide, CodePlanes::wide_tile, inputs>(Wide(), tile, parts, runs, grid, x, y);
  } else {
    MultiplyAllRows<Narrow, CodePlanes::narrow_tile, inputs>(Narrow(), tile, parts, runs, grid, x, y);
  }
}

void MultiplyTile(const CodeTile& tile, std::span<const CodePart> parts, std::span<const ColumnRun> runs,
                  const TileGrid& grid, std::span<const PlaneInput* const> inputs, float* const* y) {
  switch (inputs.size()) {
    case 1:
      return MultiplyFor<1>(tile, parts, runs, grid, inputs.data(), y);
    case 2:
      return MultiplyFor<2>(tile, parts, runs, grid, inputs.data(), y);
    default:
      return MultiplyFor<4>(tile, parts, runs, grid, inputs.data(), y);
  }
}

template <class D>
HWY_INLINE void ExpandRows(D d, const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                           std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                           std::int64_t stride) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  for (std::int64_t row = 0; row < tile.rows; row += lanes) {
    for (std::int64_t first = begin; first < end;) {
      const std::int64_t group = first / group_columns;
      const std::int64_t last = std::min(end, (group + 1) * group_columns);
      const std::int64_t at = group * tile.rows + row;
      const auto scale =
          grid.scale == nullptr ? hn::Set(d, grid.fixed_scale) : LoadParameter(d, grid.scale, grid.half, at);
      const auto centre = LoadCentre(d, grid, at);
      const auto offset = grid.offset == nullptr ? hn::Zero(d) : LoadParameter(d, grid.offset, grid.half, at);
      for (std::int64_t j = first; j < last; ++j) {
        auto code = hn::Zero(du);
        for (const CodePart& part : parts) {
          const int per_word = part.codes_per_word();
          const auto word = LoadWords(d, tile.words + (part.offset + j / per_word) * tile.rows + row);
          const auto bits = hn::And(hn::ShiftRightSame(word, static_cast<int>(j % per_word) * part.width),
                                    hn::Set(du, (1u << part.width) - 1u));
          code = hn::Or(code, hn::ShiftLeftSame(bits, part.shift));
        }
        // The difference of code and centre is a small integer: exact in f32.
        const auto level = hn::Sub(hn::ConvertTo(d, hn::BitCast(di, code)), centre);
        hn::StoreU(hn::Add(hn::Mul(scale, level), offset), d, weights + (j - begin) * stride + row);
      }
      first = last;
    }
  }
}

void ExpandTile(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                std::int64_t stride) {
  if (tile.rows == CodePlanes::wide_tile) {
    ExpandRows(Wide(), tile, parts, grid, group_columns, begin, end, weights, stride);
  } else {
    ExpandRows(Narrow(), tile, parts, grid, group_columns, begin, end, weights, stride);
  }
}

template <class D>
HWY_INLINE void SignRows(D d, const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                         std::int64_t stride) {
  const hn::RebindToUnsigned<D> du;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  const auto sign_bit = hn::Set(du, 0x80000000u);
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t row = 0; row < tile.rows; row += lanes) {
      const auto word = LoadWords(d, tile.words + j / 32 * tile.rows + row);
      const auto raised = hn::ShiftLeftSame(word, static_cast<int>(31 - j % 32));
      const auto flip = hn::AndNot(raised, sign_bit);  // set where the code is 0
      float* at = weights + (j - begin) * stride + row;
      hn::StoreU(hn::BitCast(d, hn::Xor(hn::BitCast(du, hn::LoadU(d, at)), flip)), d, at);
    }
  }
}

void ApplySigns(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                std::int64_t stride) {
  if (tile.rows == CodePlanes::wide_tile) {
    SignRows(Wide(), tile, begin, end, weights, stride);
  } else {
    SignRows(Narrow(), tile, begin, end, weights, stride);
  }
}
// NOLINTEND(bugprone-implicit-widening-of-multiplication-result,bugprone-branch-clone)
#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(MultiplyTile);
HWY_EXPORT(ExpandTile);
HWY_EXPORT(ApplySigns);

void multiply_tile(const CodeTile& tile, std::span<const CodePart> parts, std::span<const ColumnRun> runs,
                   const TileGrid& grid, std::span<const PlaneInput* const> inputs, float* const* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyTile)(tile, parts, runs, grid, inputs, y);
}

void expand_tile(const CodeTile& tile, std::span<const CodePart> parts, const TileGrid& grid,
                 std::int64_t group_columns, std::int64_t begin, std::int64_t end, float* weights,
                 std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(ExpandTile)(tile, parts, grid, group_columns, begin, end, weights, stride);
}

void apply_signs(const CodeTile& tile, std::int64_t begin, std::int64_t end, float* weights,
                 std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(ApplySigns)(tile, begin, end, weights, stride);
}
}  // namespace laconic
#endif
