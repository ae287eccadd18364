#include "engine/math/linear_algebra.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// H -> U with H^-1 = U^T U, in place; false when H is not positive definite.
bool factor_of_inverse(std::vector<double>& h, std::int64_t n) {
  const auto order = static_cast<lapack_int>(n);
  if (LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'U', order, h.data(), order) != 0) return false;
  if (LAPACKE_dpotri(LAPACK_ROW_MAJOR, 'U', order, h.data(), order) != 0) return false;
  if (LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'U', order, h.data(), order) != 0) return false;
  for (std::int64_t i = 0; i < n; ++i) std::fill_n(h.begin() + i * n, i, 0.0);
  return all_finite(h);
}

}  // namespace

InverseFactor inverse_factor(std::vector<double> h, std::int64_t n, double damping, const char* name) {
  use_one_blas_thread();
  double mean = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    double& diagonal = h[static_cast<std::size_t>(i * n + i)];
    if (diagonal == 0) diagonal = 1;
    mean += diagonal / static_cast<double>(n);
  }
  InverseFactor result;
  for (int attempt = 0; attempt <= 3; ++attempt, damping *= 10) {
    result.upper = h;
    for (std::int64_t i = 0; i < n; ++i) result.upper[static_cast<std::size_t>(i * n + i)] += damping * mean;
    result.damping = damping;
    if (factor_of_inverse(result.upper, n)) return result;
  }
  fail(ErrorKind::input, "second moment is not positive definite even with strong damping", name,
       "calibrate with more text");
}

bool cholesky(double* a, std::int64_t n) {
  use_one_blas_thread();
  const auto order = static_cast<lapack_int>(n);
  return LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', order, a, order) == 0;
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
    std::size_t largest = 0;
    for (std::size_t i = 1; i < side; ++i) {
      if (std::abs(a[i * side + from]) > std::abs(a[largest * side + from])) largest = i;
    }
    const double sign = a[largest * side + from] < 0 ? -1 : 1;
    for (std::size_t i = 0; i < side; ++i) result.vectors[i * side + j] = sign * a[i * side + from];
  }
  return result;
}

}  // namespace laconic
