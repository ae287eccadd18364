#include "engine/math/svd.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/blas.h"
#include "engine/math/sign_rule.h"

namespace laconic {
namespace {

void fix_signs(Svd& svd) {
  for (std::int64_t k = 0; k < svd.rank; ++k) {
    if (!breaks_sign_rule(svd.u.data() + k, svd.rows, svd.rank)) continue;
    negate(svd.u.data() + k, svd.rows, svd.rank);
    negate(svd.v.data() + k * svd.columns, svd.columns, 1);
  }
}

Svd first(const Svd& svd, std::int64_t rank) {
  Svd result{svd.rows, svd.columns, rank, {}, {}, {}};
  result.values.assign(svd.values.begin(), svd.values.begin() + rank);
  result.v.assign(svd.v.begin(), svd.v.begin() + rank * svd.columns);
  result.u.resize(static_cast<std::size_t>(svd.rows * rank));
  for (std::int64_t i = 0; i < svd.rows; ++i) {
    std::copy_n(svd.u.begin() + i * svd.rank, rank, result.u.begin() + i * rank);
  }
  return result;
}

// Orthonormal columns spanning those of q [rows, columns], in place.
void orthonormalise(std::vector<float>& q, std::int64_t rows, std::int64_t columns) {
  std::vector<float> tau(static_cast<std::size_t>(columns));
  const auto m = static_cast<lapack_int>(rows), n = static_cast<lapack_int>(columns);
  if (LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, m, n, q.data(), n, tau.data()) != 0 ||
      LAPACKE_sorgqr(LAPACK_ROW_MAJOR, m, n, n, q.data(), n, tau.data()) != 0) {
    fail(ErrorKind::internal, "QR factorisation failed");
  }
}

}  // namespace

Svd exact_svd(const float* a, std::int64_t rows, std::int64_t columns) {
  use_one_blas_thread();
  const std::int64_t rank = std::min(rows, columns);
  Svd svd{rows,
          columns,
          rank,
          std::vector<float>(static_cast<std::size_t>(rows * rank)),
          std::vector<float>(static_cast<std::size_t>(rank)),
          std::vector<float>(static_cast<std::size_t>(rank * columns))};
  if (rank == 0) return svd;
  std::vector<float> copy(a, a + rows * columns);
  const auto m = static_cast<lapack_int>(rows), n = static_cast<lapack_int>(columns);
  lapack_int info = LAPACKE_sgesdd(LAPACK_ROW_MAJOR, 'S', m, n, copy.data(), n, svd.values.data(),
                                   svd.u.data(), static_cast<lapack_int>(rank), svd.v.data(), n);
  if (info != 0) {  // divide and conquer gave up: the slower QR iteration is more robust
    copy.assign(a, a + rows * columns);
    std::vector<float> superdiagonal(static_cast<std::size_t>(rank));
    info = LAPACKE_sgesvd(LAPACK_ROW_MAJOR, 'S', 'S', m, n, copy.data(), n, svd.values.data(), svd.u.data(),
                          static_cast<lapack_int>(rank), svd.v.data(), n, superdiagonal.data());
  }
  if (info != 0) fail(ErrorKind::input, "singular values did not converge");
  fix_signs(svd);
  return svd;
}

Svd randomised_svd(const float* a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                   RandomStream random, int power_iterations) {
  use_one_blas_thread();
  const std::int64_t width = std::min({rank + 8, rows, columns});
  std::vector<float> test(static_cast<std::size_t>(columns * width)),
      range(static_cast<std::size_t>(rows * width));
  for (float& value : test) value = random.gaussian();
  const auto times_test = [&] {
    gemm(Transpose::no, Transpose::no, rows, width, columns, 1.0f, a, columns, test.data(), width, 0.0f,
         range.data(), width);
    orthonormalise(range, rows, width);
  };
  times_test();
  for (int pass = 0; pass < power_iterations; ++pass) {
    gemm(Transpose::yes, Transpose::no, columns, width, rows, 1.0f, a, columns, range.data(), width, 0.0f,
         test.data(), width);
    orthonormalise(test, columns, width);
    times_test();
  }
  std::vector<float> small(static_cast<std::size_t>(width * columns));
  gemm(Transpose::yes, Transpose::no, width, columns, rows, 1.0f, range.data(), width, a, columns, 0.0f,
       small.data(), columns);
  const Svd inner = first(exact_svd(small.data(), width, columns), std::min(rank, width));
  Svd svd{rows,         columns, inner.rank, std::vector<float>(static_cast<std::size_t>(rows * inner.rank)),
          inner.values, inner.v};
  gemm(Transpose::no, Transpose::no, rows, inner.rank, width, 1.0f, range.data(), width, inner.u.data(),
       inner.rank, 0.0f, svd.u.data(), inner.rank);
  fix_signs(svd);
  return svd;
}

Svd truncated_svd(const float* a, std::int64_t rows, std::int64_t columns, std::int64_t rank,
                  RandomStream random) {
  const std::int64_t side = std::min(rows, columns);
  rank = std::min(rank, side);
  if (side <= 1024 || 3 * rank > side) return first(exact_svd(a, rows, columns), rank);
  return randomised_svd(a, rows, columns, rank, random);
}

}  // namespace laconic
