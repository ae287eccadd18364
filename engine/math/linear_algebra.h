// Float64 factorisations and solves of symmetric matrices, row-major, over LAPACK.
#pragma once

#include <cstdint>
#include <vector>

namespace laconic {

// U upper triangular with H^-1 = U^T U for a symmetric positive definite H [n, n] plus `damping` times its
// mean diagonal. When that is not finite or not positive definite, damping grows tenfold up to three times;
// then Error(input). Dead inputs (zero diagonal) get diagonal 1 first. Source: Frantar et al. 2022 (GPTQ),
// step 3.
struct InverseFactor {
  std::vector<double> upper;  // [n, n]
  double damping = 0;         // the relative damping that was used
};
InverseFactor inverse_factor(std::vector<double> h, std::int64_t n, double damping, const char* name);

// Lower Cholesky factor in place; false when the matrix is not positive definite.
bool cholesky(double* a, std::int64_t n);

// Solves A x = b for a symmetric positive semidefinite A [n, n]; the solution overwrites b. On
// failure `ridge` times the mean diagonal is added and raised tenfold, up to `attempts` times; false when all
// fail (b is then as it was).
bool solve_symmetric(const double* a, double* b, std::int64_t n, int attempts = 7, double ridge = 1e-8);

// Eigenvalues descending with orthonormal eigenvectors as columns of `vectors` [n, n]; the entry of largest
// magnitude of each is positive (ties: lowest index).
struct Eigen {
  std::vector<double> values, vectors;
};
Eigen symmetric_eigen(std::vector<double> a, std::int64_t n);

}  // namespace laconic
