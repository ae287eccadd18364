// Where a vector register can be looked up by its own lanes (AVX2: 8 entries, AVX-512: 16), three or four
// signs of a row are one index into a table of all sums +-x_0 +-x_1 +-x_2 (+-x_3), and one lookup and one
// addition serve three or four columns of a whole vector of rows (the bit-serial tables of T-MAC, Wei et al.
// 2024, arXiv 2407.00088, kept in f32). Elsewhere the sign bit of the activation is flipped.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/sign_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "runtime/lane_table-inl.h"
#include "runtime/sign_kernel.h"

#ifndef LACONIC_SIGN_UNROLL
#if defined(__clang__)
#define LACONIC_SIGN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LACONIC_SIGN_UNROLL _Pragma("GCC unroll 32")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
#if HWY_HAVE_SCALABLE
void SignProducts(const CodeTile& tile, std::int64_t columns, const float* inputs, std::int64_t stride,
                  std::int64_t count, float* sums) {
  sign_products_scalar(tile, columns, inputs, stride, count, sums);
}
#else
namespace hn = hwy::HWY_NAMESPACE;

// Counts of vectors and lanes are below 64.
// NOLINTBEGIN(bugprone-implicit-widening-of-multiplication-result)

constexpr int kSignLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
using WideSigns = hn::CappedTag<float, kSignLanes>;
using NarrowSigns = hn::CappedTag<float, (kSignLanes < 8 ? kSignLanes : 8)>;

// Words that one chain of sums runs over: 512 columns bound its rounding error.
constexpr std::int64_t kSignWords = 16;

template <class D, int vectors, int inputs>
struct SignSums {
  hn::Vec<D> of[vectors * inputs];
};

#if HWY_TARGET <= HWY_AVX2
// Entry i of the table of x[0 .. count): the sum of x_c, positive where bit c of i is set.
template <class D, int count>
HWY_INLINE hn::Vec<D> SumTable(D d, const float* x) {
  HWY_ALIGN static constexpr float kSigns[4][16] = {{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
                                                    {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
                                                    {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
                                                    {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1}};
  auto table = hn::Mul(hn::Load(d, kSigns[0]), hn::Set(d, x[0]));
  LACONIC_SIGN_UNROLL
  for (int c = 1; c < count; ++c) {
    table = hn::MulAdd(hn::Load(d, kSigns[c]), hn::Set(d, x[c]), table);
  }
  return table;
}

template <class D, int shift, int count, int vectors, int inputs>
HWY_INLINE void AddPiece(D d, const hn::Vec<hn::RebindToUnsigned<D> >* words, const float* x,
                         std::int64_t stride, SignSums<D, vectors, inputs>& sums) {
  hn::Vec<D> tables[inputs];
  LACONIC_SIGN_UNROLL
  for (int m = 0; m < inputs; ++m) tables[m] = SumTable<D, count>(d, x + m * stride + shift);
  LACONIC_SIGN_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const auto index = hn::ShiftRight<shift>(words[v]);
    LACONIC_SIGN_UNROLL
    for (int m = 0; m < inputs; ++m) {
      sums.of[m * vectors + v] = hn::Add(sums.of[m * vectors + v], LookUpLanes(d, tables[m], index));
    }
  }
}

// 32 columns: one word of every row.
template <class D, int vectors, int inputs>
HWY_INLINE void AddWord(D d, const std::uint32_t* from, const float* x, std::int64_t stride,
                        SignSums<D, vectors, inputs>& sums) {
  const hn::RebindToUnsigned<D> du;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  hn::Vec<hn::RebindToUnsigned<D> > words[vectors];
  LACONIC_SIGN_UNROLL
  for (int v = 0; v < vectors; ++v) words[v] = hn::LoadU(du, from + v * lanes);
  if constexpr (lanes == 16) {
    AddPiece<D, 0, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 4, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 8, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 12, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 16, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 20, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 24, 4, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 28, 4, vectors, inputs>(d, words, x, stride, sums);
  } else {
    AddPiece<D, 0, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 3, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 6, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 9, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 12, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 15, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 18, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 21, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 24, 3, vectors, inputs>(d, words, x, stride, sums);
    AddPiece<D, 27, 3, vectors, inputs>(d, words, x, stride, sums);
    // Entries 4 to 7 repeat entries 0 to 3, and the top bit of the index is zero anyway.
    AddPiece<D, 30, 2, vectors, inputs>(d, words, x, stride, sums);
  }
}
#else
template <class D, int vectors, int inputs>
HWY_INLINE void AddWord(D d, const std::uint32_t* from, const float* x, std::int64_t stride,
                        SignSums<D, vectors, inputs>& sums) {
  const hn::RebindToUnsigned<D> du;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  const auto sign_bit = hn::Set(du, 0x80000000u);
  for (int k = 0; k < 32; ++k) {
    hn::Vec<D> activation[inputs];
    LACONIC_SIGN_UNROLL
    for (int m = 0; m < inputs; ++m) activation[m] = hn::Set(d, x[m * stride + k]);
    LACONIC_SIGN_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const auto raised = hn::ShiftLeftSame(hn::LoadU(du, from + v * lanes), 31 - k);
      const auto flip = hn::BitCast(d, hn::AndNot(raised, sign_bit));  // set where the code is 0
      LACONIC_SIGN_UNROLL
      for (int m = 0; m < inputs; ++m) {
        sums.of[m * vectors + v] = hn::Add(sums.of[m * vectors + v], hn::Xor(activation[m], flip));
      }
    }
  }
}
#endif

template <class D, int vectors, int inputs>
HWY_INLINE void SignRowSums(D d, const CodeTile& tile, std::int64_t row, std::int64_t columns, const float* x,
                            std::int64_t stride, float* sums) {
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  const std::int64_t words = (columns + 31) / 32;
  const auto place = [&](int i) { return sums + (i / vectors) * tile.rows + row + (i % vectors) * lanes; };
  for (int i = 0; i < vectors * inputs; ++i) hn::StoreU(hn::Zero(d), d, place(i));
  for (std::int64_t begin = 0; begin < words; begin += kSignWords) {
    SignSums<D, vectors, inputs> run;
    LACONIC_SIGN_UNROLL
    for (int i = 0; i < vectors * inputs; ++i) run.of[i] = hn::Zero(d);
    const std::int64_t end = std::min(words, begin + kSignWords);
    for (std::int64_t word = begin; word < end; ++word) {
      AddWord<D, vectors, inputs>(d, tile.words + word * tile.rows + row, x + word * 32, stride, run);
    }
    LACONIC_SIGN_UNROLL
    for (int i = 0; i < vectors * inputs; ++i) {
      hn::StoreU(hn::Add(hn::LoadU(d, place(i)), run.of[i]), d, place(i));
    }
  }
}

template <class D, int rows, int inputs>
HWY_INLINE void SignTileSums(D d, const CodeTile& tile, std::int64_t columns, const float* x,
                             std::int64_t stride, float* sums) {
  constexpr int lanes = static_cast<int>(hn::MaxLanes(D()));
  constexpr int vectors = std::min(rows / lanes, 4);
  for (int row = 0; row < rows; row += vectors * lanes) {
    SignRowSums<D, vectors, inputs>(d, tile, row, columns, x, stride, sums);
  }
}

template <class D, int rows>
HWY_INLINE void SignTile(D d, const CodeTile& tile, std::int64_t columns, const float* inputs,
                         std::int64_t stride, std::int64_t count, float* sums) {
  std::int64_t m = 0;
  for (; m + 2 <= count; m += 2) {
    SignTileSums<D, rows, 2>(d, tile, columns, inputs + m * stride, stride, sums + m * tile.rows);
  }
  if (m < count)
    SignTileSums<D, rows, 1>(d, tile, columns, inputs + m * stride, stride, sums + m * tile.rows);
}

void SignProducts(const CodeTile& tile, std::int64_t columns, const float* inputs, std::int64_t stride,
                  std::int64_t count, float* sums) {
  if (tile.rows == CodePlanes::wide_tile) {
    SignTile<WideSigns, CodePlanes::wide_tile>(WideSigns(), tile, columns, inputs, stride, count, sums);
  } else {
    SignTile<NarrowSigns, CodePlanes::narrow_tile>(NarrowSigns(), tile, columns, inputs, stride, count, sums);
  }
}
#endif

// NOLINTEND(bugprone-implicit-widening-of-multiplication-result)
}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(SignProducts);

void sign_products(const CodeTile& tile, std::int64_t columns, const float* inputs, std::int64_t stride,
                   std::int64_t count, float* sums) {
  HWY_DYNAMIC_DISPATCH(SignProducts)(tile, columns, inputs, stride, count, sums);
}

void sign_products_scalar(const CodeTile& tile, std::int64_t columns, const float* inputs,
                          std::int64_t stride, std::int64_t count, float* sums) {
  for (std::int64_t m = 0; m < count; ++m) {
    for (std::int64_t row = 0; row < tile.rows; ++row) {
      float total = 0;
      for (std::int64_t begin = 0; begin < columns; begin += 512) {
        float sum = 0;
        for (std::int64_t j = begin; j < std::min(columns, begin + 512); ++j) {
          const std::uint32_t bit = tile.words[j / 32 * tile.rows + row] >> (j % 32) & 1u;
          const float x = inputs[m * stride + j];
          sum += bit != 0 ? x : -x;
        }
        total += sum;
      }
      sums[m * tile.rows + row] = total;
    }
  }
}
}  // namespace laconic
#endif
