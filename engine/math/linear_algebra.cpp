#include "engine/math/linear_algebra.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/math/sign_rule.h"

namespace laconic {
namespace {

// Panels of the blocked factorisations. Fixed, so that the arithmetic is the same at any thread count.
constexpr std::int64_t panel = 192;

}  // namespace

bool cholesky(double* matrix, std::int64_t n) {
  use_one_blas_thread();
  for (std::int64_t begin = 0; begin < n; begin += panel) {
    const std::int64_t width = std::min(panel, n - begin);
    double* corner = matrix + begin * n + begin;
    // Row-major lower is column-major upper: calling the column-major routine avoids a transposed copy.
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', static_cast<int>(width), corner, static_cast<int>(n)) !=
        0) {
      return false;
    }
    for (std::int64_t i = 0; i < width; ++i) {
      if (!std::isfinite(corner[i * n + i]) || corner[i * n + i] <= 0) return false;
    }
    const std::int64_t rest = begin + width;
    parallel_tiles(n - rest, panel, [&](std::int64_t first, std::int64_t last) {
      cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
                  static_cast<int>(last - first), static_cast<int>(width), 1.0, corner, static_cast<int>(n),
                  matrix + (rest + first) * n + begin, static_cast<int>(n));
    });
    parallel_tiles(n - rest, panel, [&](std::int64_t first, std::int64_t last) {
      // Rows [first, last) of the trailing lower triangle, their square diagonal block included.
      const double* below = matrix + rest * n + begin;
      gemm(Transpose::no, Transpose::yes, last - first, last, width, -1.0, below + first * n, n, below, n,
           1.0, matrix + (rest + first) * n + rest, n);
    });
  }
  for (std::int64_t i = 0; i < n; ++i) std::fill(matrix + i * n + i + 1, matrix + (i + 1) * n, 0.0);
  return true;
}

void invert_lower_triangular(double* lower, std::int64_t n) {
  use_one_blas_thread();
  // X = L^-1 panel by panel of rows: X_bb = L_bb^-1 and X_b,before = -L_bb^-1 L_b,before X_before,before.
  for (std::int64_t begin = 0; begin < n; begin += panel) {
    const std::int64_t width = std::min(panel, n - begin);
    double* rows = lower + begin * n;
    std::vector<double> diagonal(static_cast<std::size_t>(width * width));
    for (std::int64_t i = 0; i < width; ++i) {
      std::copy_n(rows + i * n + begin, width, diagonal.data() + i * width);
    }
    std::vector<double> before(static_cast<std::size_t>(width * begin));
    parallel_tiles(begin, panel, [&](std::int64_t first, std::int64_t last) {
      // Rows of X before `first` are zero in these columns.
      double* out = before.data() + first;
      gemm(Transpose::no, Transpose::no, width, last - first, begin - first, -1.0, rows + first, n,
           lower + first * n + first, n, 0.0, out, begin);
      cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, static_cast<int>(width),
                  static_cast<int>(last - first), 1.0, diagonal.data(), static_cast<int>(width), out,
                  static_cast<int>(begin));
    });
    for (std::int64_t i = 0; i < width; ++i) std::copy_n(before.data() + i * begin, begin, rows + i * n);
    const int status = LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'U', 'N', static_cast<int>(width), rows + begin,
                                           static_cast<int>(n));
    require(status == 0, "a triangular factor has no zero on its diagonal");
  }
}

bool inverse_cholesky_upper(double* matrix, std::int64_t n) {
  // Reversing all n*n entries gives J H J (H is symmetric); only its lower triangle is read, which is the
  // upper one of H, so the lower triangle is copied up first.
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = i + 1; j < n; ++j) matrix[i * n + j] = matrix[j * n + i];
  }
  std::reverse(matrix, matrix + n * n);
  if (!cholesky(matrix, n)) return false;
  invert_lower_triangular(matrix, n);
  std::reverse(matrix, matrix + n * n);
  for (std::int64_t i = 0; i < n * n; ++i) {
    if (!std::isfinite(matrix[i])) return false;
  }
  return true;
}

double repair_dead_inputs(double* h, std::int64_t n) {
  double sum = 0;
  std::int64_t alive = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    double& diagonal = h[i * n + i];
    if (diagonal == 0) {
      diagonal = 1;
      continue;
    }
    sum += diagonal;
    ++alive;
  }
  return alive == 0 ? 1 : sum / static_cast<double>(alive);
}

InverseFactor inverse_factor(std::vector<double> h, std::int64_t n, double damping, const char* name) {
  const double mean = repair_dead_inputs(h.data(), n);
  InverseFactor result;
  for (int attempt = 0; attempt <= 3; ++attempt, damping *= 10) {
    result.upper = h;
    for (std::int64_t i = 0; i < n; ++i) result.upper[static_cast<std::size_t>(i * n + i)] += damping * mean;
    result.damping = damping;
    if (inverse_cholesky_upper(result.upper.data(), n)) return result;
  }
  refuse_moment(name);
}

void refuse_moment(const char* name) {
  fail(ErrorKind::input, "second moment is not positive definite even with strong damping", name,
       "calibrate with more text");
}

bool solve_symmetric(const double* a, double* b, std::int64_t n, int attempts, double ridge) {
  const std::size_t side = static_cast<std::size_t>(n);
  double mean = 0;
  for (std::size_t i = 0; i < side; ++i) mean += a[i * side + i] / static_cast<double>(n);
  std::vector<double> lower(side * side), x(side);
  double added = 0;
  for (int attempt = 0; attempt <= attempts; ++attempt) {
    std::copy_n(a, side * side, lower.begin());
    for (std::size_t i = 0; i < side; ++i) lower[i * side + i] += added;
    // A small factorisation by hand: these systems have a handful of unknowns and come in millions.
    bool good = true;
    for (std::size_t j = 0; j < side && good; ++j) {
      double pivot = lower[j * side + j];
      for (std::size_t k = 0; k < j; ++k) pivot -= lower[j * side + k] * lower[j * side + k];
      // A pivot that cancellation left without correct digits counts as zero.
      good = pivot > 1e-12 * lower[j * side + j] && std::isfinite(pivot);
      if (!good) break;
      pivot = std::sqrt(pivot);
      lower[j * side + j] = pivot;
      for (std::size_t i = j + 1; i < side; ++i) {
        double sum = lower[i * side + j];
        for (std::size_t k = 0; k < j; ++k) sum -= lower[i * side + k] * lower[j * side + k];
        lower[i * side + j] = sum / pivot;
      }
    }
    if (good) {
      std::copy_n(b, side, x.begin());
      for (std::size_t i = 0; i < side; ++i) {
        for (std::size_t k = 0; k < i; ++k) x[i] -= lower[i * side + k] * x[k];
        x[i] /= lower[i * side + i];
      }
      for (std::size_t i = side; i-- > 0;) {
        for (std::size_t k = i + 1; k < side; ++k) x[i] -= lower[k * side + i] * x[k];
        x[i] /= lower[i * side + i];
      }
      if (all_finite(x)) {
        std::copy(x.begin(), x.end(), b);
        return true;
      }
    }
    added = added == 0 ? ridge * mean : added * 10;
  }
  return false;
}

Eigen symmetric_eigen(std::vector<double> a, std::int64_t n) {
  use_one_blas_thread();
  const std::size_t side = static_cast<std::size_t>(n);
  Eigen result;
  result.values.resize(side);
  const auto order = static_cast<lapack_int>(n);
  if (n > 0 &&
      LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', order, a.data(), order, result.values.data()) != 0) {
    fail(ErrorKind::input, "eigenvalues did not converge");
  }
  std::reverse(result.values.begin(), result.values.end());
  result.vectors.resize(side * side);
  for (std::size_t j = 0; j < side; ++j) {
    const std::size_t from = side - 1 - j;
    const double sign = breaks_sign_rule(a.data() + from, n, n) ? -1 : 1;
    for (std::size_t i = 0; i < side; ++i) result.vectors[i * side + j] = sign * a[i * side + from];
  }
  return result;
}

Svd64 exact_svd64(std::vector<double> a, std::int64_t rows, std::int64_t columns) {
  use_one_blas_thread();
  Svd64 svd;
  svd.rank = std::min(rows, columns);
  if (svd.rank == 0) return svd;
  svd.u.resize(static_cast<std::size_t>(rows * svd.rank));
  svd.values.resize(static_cast<std::size_t>(svd.rank));
  svd.v.resize(static_cast<std::size_t>(svd.rank * columns));
  const auto m = static_cast<lapack_int>(rows), n = static_cast<lapack_int>(columns);
  const auto k = static_cast<lapack_int>(svd.rank);
  std::vector<double> work = a;
  if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', m, n, work.data(), n, svd.values.data(), svd.u.data(), k,
                     svd.v.data(), n) != 0) {  // divide and conquer gave up: QR iteration is more robust
    std::vector<double> superdiagonal(static_cast<std::size_t>(svd.rank));
    if (LAPACKE_dgesvd(LAPACK_ROW_MAJOR, 'S', 'S', m, n, a.data(), n, svd.values.data(), svd.u.data(), k,
                       svd.v.data(), n, superdiagonal.data()) != 0) {
      fail(ErrorKind::input, "singular values did not converge");
    }
  }
  for (std::int64_t j = 0; j < svd.rank; ++j) {
    if (!breaks_sign_rule(svd.u.data() + j, rows, svd.rank)) continue;
    negate(svd.u.data() + j, rows, svd.rank);
    negate(svd.v.data() + j * columns, columns, 1);
  }
  return svd;
}

}  // namespace laconic
