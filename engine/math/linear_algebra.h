// Float64 factorisations and solves, row-major, over LAPACK: Cholesky, small symmetric systems, eigenvalues,
// singular values.
#pragma once

#include <cstdint>
#include <vector>

namespace laconic {

// H = L L^T in place, blocked over the threads: the lower triangle becomes L, the strict upper one zero. Only
// the lower triangle is read. False (contents then undefined) when a pivot is not positive or not finite.
bool cholesky(double* matrix, std::int64_t n);

// Inverts a lower triangular matrix in place; its strict upper triangle must be zero.
void invert_lower_triangular(double* lower, std::int64_t n);

// U upper triangular with positive diagonal and H^-1 = U^T U, in place. With J the reversal of the order and
// J H J = L L^T it is U = J L^-1 J, so H^-1 itself is never formed. Only the lower triangle is read. False
// when H is not positive definite.
bool inverse_cholesky_upper(double* matrix, std::int64_t n);

// Gives dead inputs (zero diagonal) diagonal 1 and returns the mean diagonal of the others, the unit of
// damping.
double repair_dead_inputs(double* h, std::int64_t n);
[[noreturn]] void refuse_moment(const char* name);

// inverse_cholesky_upper of H with dead inputs repaired plus `damping` times its mean diagonal. When that is
// not positive definite, damping grows tenfold up to three times; then Error(input). Source: Frantar et al.
// 2022 (GPTQ), step 3.
struct InverseFactor {
  std::vector<double> upper;  // [n, n]
  double damping = 0;         // the relative damping that was used
};
InverseFactor inverse_factor(std::vector<double> h, std::int64_t n, double damping, const char* name);

// Solves A x = b for a symmetric positive semidefinite A [n, n]; the solution overwrites b. On
// failure `ridge` times the mean diagonal is added and raised tenfold, up to `attempts` times; false when all
// fail (b is then as it was).
bool solve_symmetric(const double* a, double* b, std::int64_t n, int attempts = 7, double ridge = 1e-8);

// Eigenvalues descending with orthonormal eigenvectors as columns of `vectors` [n, n], signs by the rule of
// sign_rule.h.
struct Eigen {
  std::vector<double> values, vectors;
};
Eigen symmetric_eigen(std::vector<double> a, std::int64_t n);

// A = U diag(s) V^T, thin, s descending, signs of the columns of U by the rule of sign_rule.h and V
// following. The f32 form for weights is in svd.h.
struct Svd64 {
  std::int64_t rank = 0;       // min(rows, columns)
  std::vector<double> u;       // [rows, rank]
  std::vector<double> values;  // [rank]
  std::vector<double> v;       // [rank, columns]: rows are right singular vectors
};
Svd64 exact_svd64(std::vector<double> a, std::int64_t rows, std::int64_t columns);

}  // namespace laconic
