// Orthogonal matrices from free ones (Cayley 1846): for any X [n, n] the matrix A = X - X^T is skew, and
//   U = (I - A/2)^-1 (I + A/2)
// is orthogonal, with determinant 1 and no eigenvalue -1. Back:
//   A = 2 (U - I) (I + U)^-1,  X = the part of A below the diagonal
// Float64 in plain loops of a fixed order: the same bits on every machine. Row-major.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace laconic {

// U of X. Requires finite X.
std::vector<double> cayley(std::span<const double> x, std::int64_t n);

// X [n, n] of an orthogonal U, zero on and above the diagonal. Nothing where the condition of I + U (in the
// 1-norm) is over `most_condition`: U has an eigenvalue at or near -1.
std::optional<std::vector<double>> cayley_inverse(std::span<const double> u, std::int64_t n,
                                                  double most_condition = 1e6);

// Negates columns of an orthogonal U so that it has an X whose entries are at most 2 in magnitude: without a
// choice they can be of any size, and an X of large entries can neither be rounded nor trained. First column
// 0 where the determinant is -1; where I + U is then ill-conditioned, the columns by which elimination
// without exchanges meets pivots of at least 1 only; then pairs of columns, of the largest entry each time,
// which multiplies the determinant of I + U by (x / 2)^2 (O'Dorney 2014, "Minimizing the Cayley transform of
// an orthogonal matrix by multiplying by signature matrices").
void choose_cayley_signs(std::span<double> u, std::int64_t n, double most_condition = 1e6);

}  // namespace laconic
