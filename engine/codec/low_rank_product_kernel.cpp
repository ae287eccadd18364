#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/codec/low_rank_product_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/base/threads.h"
#include "engine/codec/low_rank_product.h"

#ifndef LACONIC_LOW_RANK_PRODUCT_SCALAR
#define LACONIC_LOW_RANK_PRODUCT_SCALAR
namespace laconic {

inline float signed_term(float term, const std::uint8_t* signs, std::int64_t index) {
  return signs == nullptr || ((signs[index / 8] >> (index % 8)) & 1) != 0 ? term : -term;
}

// Columns [begin, columns) of one row.
inline void add_row_scalar(const float* a, const float* b, std::int64_t row, std::int64_t begin,
                           std::int64_t columns, std::int64_t rank, const std::uint8_t* signs, float* sum) {
  for (std::int64_t j = begin; j < columns; ++j) {
    float term = 0;
    for (std::int64_t r = 0; r < rank; ++r) term += a[row * rank + r] * b[r * columns + j];
    sum[row * columns + j] += signed_term(term, signs, row * columns + j);
  }
}

}  // namespace laconic
#endif

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Requires: row-major contiguous buffers; signs (when given) cover rows * columns bits.
void AddRows(const float* a, const float* b, std::int64_t begin, std::int64_t end, std::int64_t columns,
             std::int64_t rank, const std::uint8_t* signs, float* sum) {
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t row = begin; row < end; ++row) {
    std::int64_t j = 0;
    for (; j + lanes <= columns; j += lanes) {
      auto term = hn::Zero(d);
      for (std::int64_t r = 0; r < rank; ++r) {
        term = hn::Add(term, hn::Mul(hn::Set(d, a[row * rank + r]), hn::LoadU(d, b + r * columns + j)));
      }
      float* place = sum + row * columns + j;
      if (signs != nullptr) {
        const std::int64_t index = row * columns + j;
        unsigned bits = signs[index / 8];
        const std::int64_t last = index + lanes - 1;
        if (last / 8 != index / 8) bits |= static_cast<unsigned>(signs[last / 8]) << 8;
        const std::uint8_t mask[8] = {static_cast<std::uint8_t>((bits >> (index % 8)) & ((1u << lanes) - 1))};
        term = hn::IfThenElse(hn::LoadMaskBits(d, mask), term, hn::Neg(term));
      }
      hn::StoreU(hn::Add(hn::LoadU(d, place), term), d, place);
    }
    add_row_scalar(a, b, row, j, columns, rank, signs, sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(AddRows);

void add_low_rank(const float* a, const float* b, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                  const std::uint8_t* signs, float* sum) {
  parallel_tiles(rows, 32, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRows)(a, b, begin, end, columns, rank, signs, sum);
  });
}

void add_low_rank_scalar(const float* a, const float* b, std::int64_t rows, std::int64_t columns,
                         std::int64_t rank, const std::uint8_t* signs, float* sum) {
  for (std::int64_t row = 0; row < rows; ++row) {
    add_row_scalar(a, b, row, 0, columns, rank, signs, sum);
  }
}

}  // namespace laconic
#endif
