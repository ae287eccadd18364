#include "engine/math/blas.h"

#include <cblas.h>

#include <algorithm>

#include "engine/base/threads.h"

namespace laconic {
namespace {

CBLAS_TRANSPOSE form(Transpose transpose) { return transpose == Transpose::yes ? CblasTrans : CblasNoTrans; }

}  // namespace

void use_one_blas_thread() {
  static const bool once = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  (void)once;
}

std::string blas_core_name() { return openblas_get_corename(); }

void gemm(Transpose a_form, Transpose b_form, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
          const float* a, std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta, float* c,
          std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  use_one_blas_thread();
  cblas_sgemm(CblasRowMajor, form(a_form), form(b_form), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(a_stride), b, static_cast<int>(b_stride), beta,
              c, static_cast<int>(c_stride));
}

void gemm(Transpose a_form, Transpose b_form, std::int64_t m, std::int64_t n, std::int64_t k, double alpha,
          const double* a, std::int64_t a_stride, const double* b, std::int64_t b_stride, double beta,
          double* c, std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  use_one_blas_thread();
  cblas_dgemm(CblasRowMajor, form(a_form), form(b_form), static_cast<int>(m), static_cast<int>(n),
              static_cast<int>(k), alpha, a, static_cast<int>(a_stride), b, static_cast<int>(b_stride), beta,
              c, static_cast<int>(c_stride));
}

void multiply_transposed(const float* a, const float* b, std::int64_t m, std::int64_t n, std::int64_t k,
                         float* c) {
  constexpr std::int64_t row_tile = 128, column_tile = 512;
  const std::int64_t row_tiles = (m + row_tile - 1) / row_tile;
  const std::int64_t column_tiles = (n + column_tile - 1) / column_tile;
  parallel_for(row_tiles * column_tiles, [&](std::int64_t tile) {
    const std::int64_t i = tile / column_tiles * row_tile, j = tile % column_tiles * column_tile;
    gemm(Transpose::no, Transpose::yes, std::min(row_tile, m - i), std::min(column_tile, n - j), k, 1.0f,
         a + i * k, k, b + j * k, k, 0.0f, c + i * n + j, n);
  });
}

void gram(const double* x, std::int64_t m, std::int64_t n, double* c) {
  constexpr std::int64_t tile = 256;
  const std::int64_t tiles = (n + tile - 1) / tile;
  parallel_for(tiles * tiles, [&](std::int64_t index) {
    const std::int64_t i = index / tiles * tile, j = index % tiles * tile;
    if (j < i) return;
    gemm(Transpose::yes, Transpose::no, std::min(tile, n - i), std::min(tile, n - j), m, 1.0, x + i, n, x + j,
         n, 0.0, c + i * n + j, n);
  });
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < i; ++j) c[i * n + j] = c[j * n + i];
  }
}

}  // namespace laconic
