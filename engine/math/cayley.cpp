#include "engine/math/cayley.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::size_t cell(std::int64_t row, std::int64_t column, std::int64_t n) {
  return static_cast<std::size_t>(row * n + column);
}

std::vector<double> identity(std::int64_t n) {
  std::vector<double> matrix(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) matrix[cell(i, i, n)] = 1;
  return matrix;
}

// B becomes M^-1 B by elimination with row exchanges; M is used up. The determinant of M; 0 where it is
// singular.
double solve_in_place(std::vector<double>& m, std::vector<double>& b, std::int64_t n) {
  double determinant = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pivot = k;
    for (std::int64_t i = k + 1; i < n; ++i) {
      if (std::abs(m[cell(i, k, n)]) > std::abs(m[cell(pivot, k, n)])) pivot = i;
    }
    if (m[cell(pivot, k, n)] == 0) return 0;
    if (pivot != k) {
      determinant = -determinant;
      std::swap_ranges(m.begin() + k * n, m.begin() + (k + 1) * n, m.begin() + pivot * n);
      std::swap_ranges(b.begin() + k * n, b.begin() + (k + 1) * n, b.begin() + pivot * n);
    }
    const double diagonal = m[cell(k, k, n)];
    determinant *= diagonal;
    for (std::int64_t i = k + 1; i < n; ++i) {
      const double factor = m[cell(i, k, n)] / diagonal;
      if (factor == 0) continue;
      for (std::int64_t j = k; j < n; ++j) m[cell(i, j, n)] -= factor * m[cell(k, j, n)];
      for (std::int64_t j = 0; j < n; ++j) b[cell(i, j, n)] -= factor * b[cell(k, j, n)];
    }
  }
  for (std::int64_t k = n; k-- > 0;) {
    const double diagonal = m[cell(k, k, n)];
    for (std::int64_t j = 0; j < n; ++j) b[cell(k, j, n)] /= diagonal;
    for (std::int64_t i = 0; i < k; ++i) {
      const double factor = m[cell(i, k, n)];
      if (factor == 0) continue;
      for (std::int64_t j = 0; j < n; ++j) b[cell(i, j, n)] -= factor * b[cell(k, j, n)];
    }
  }
  return determinant;
}

// Largest sum of magnitudes of a column.
double column_norm(const std::vector<double>& m, std::int64_t n) {
  double norm = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += std::abs(m[cell(i, j, n)]);
    norm = std::max(norm, sum);
  }
  return norm;
}

// (I + U)^-1 where its condition allows it.
std::optional<std::vector<double>> inverse_of_shifted(std::span<const double> u, std::int64_t n,
                                                      double most_condition) {
  std::vector<double> shifted(u.begin(), u.end()), inverse = identity(n);
  for (std::int64_t i = 0; i < n; ++i) shifted[cell(i, i, n)] += 1;
  const double norm = column_norm(shifted, n);
  if (solve_in_place(shifted, inverse, n) == 0) return std::nullopt;
  const double condition = norm * column_norm(inverse, n);
  if (!(condition <= most_condition)) return std::nullopt;
  return inverse;
}

void negate_column(std::span<double> u, std::int64_t n, std::int64_t column) {
  for (std::int64_t i = 0; i < n; ++i) u[cell(i, column, n)] = -u[cell(i, column, n)];
}

// Columns of I + U D are eliminated from left to right; what is left of column k is w d_k + e, w of U's and e
// of the unit vector's, with e_k = 1: the sign of w_k makes the pivot at least 1.
void negate_by_pivots(std::span<double> u, std::int64_t n) {
  std::vector<double> lower(static_cast<std::size_t>(n * n));  // multipliers of the columns so far
  std::vector<double> w(static_cast<std::size_t>(n)), e(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k < n; ++k) {
    for (std::int64_t i = 0; i < n; ++i) {
      w[static_cast<std::size_t>(i)] = u[cell(i, k, n)];
      e[static_cast<std::size_t>(i)] = i == k ? 1 : 0;
    }
    for (std::int64_t j = 0; j < k; ++j) {
      const double wj = w[static_cast<std::size_t>(j)], ej = e[static_cast<std::size_t>(j)];
      for (std::int64_t i = j + 1; i < n; ++i) {
        w[static_cast<std::size_t>(i)] -= lower[cell(i, j, n)] * wj;
        e[static_cast<std::size_t>(i)] -= lower[cell(i, j, n)] * ej;
      }
    }
    const double sign = w[static_cast<std::size_t>(k)] < 0 ? -1 : 1;
    if (sign < 0) negate_column(u, n, k);
    const double pivot = e[static_cast<std::size_t>(k)] + sign * w[static_cast<std::size_t>(k)];
    for (std::int64_t i = k + 1; i < n; ++i)
      lower[cell(i, k, n)] = (e[static_cast<std::size_t>(i)] + sign * w[static_cast<std::size_t>(i)]) / pivot;
  }
}

}  // namespace

std::vector<double> cayley(std::span<const double> x, std::int64_t n) {
  require(static_cast<std::int64_t>(x.size()) == n * n, "X is square");
  std::vector<double> minus = identity(n), plus = identity(n);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const double half = (x[cell(i, j, n)] - x[cell(j, i, n)]) / 2;
      minus[cell(i, j, n)] -= half;
      plus[cell(i, j, n)] += half;
    }
  }
  // I - A/2 is never singular: its eigenvalues are 1 plus imaginary numbers.
  solve_in_place(minus, plus, n);
  return plus;
}

std::optional<std::vector<double>> cayley_inverse(std::span<const double> u, std::int64_t n,
                                                  double most_condition) {
  require(static_cast<std::int64_t>(u.size()) == n * n, "U is square");
  const auto inverse = inverse_of_shifted(u, n, most_condition);
  if (!inverse) return std::nullopt;
  // A = 2 (U - I)(I + U)^-1 = 2 I - 4 (I + U)^-1
  std::vector<double> x(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < i; ++j)
      x[cell(i, j, n)] = 2 * ((*inverse)[cell(j, i, n)] - (*inverse)[cell(i, j, n)]);
  }
  return x;
}

void choose_cayley_signs(std::span<double> u, std::int64_t n, double most_condition) {
  require(static_cast<std::int64_t>(u.size()) == n * n, "U is square");
  if (n == 0) return;
  std::vector<double> copy(u.begin(), u.end()), ignored = identity(n);
  if (solve_in_place(copy, ignored, n) < 0) negate_column(u, n, 0);
  if (!inverse_of_shifted(u, n, most_condition)) negate_by_pivots(u, n);
  constexpr double most = 2 + 1e-9;  // so that rounding cannot make a pair come back
  while (true) {
    const auto x = cayley_inverse(u, n, std::numeric_limits<double>::infinity());
    require(x.has_value(), "I + U is not singular");
    const auto largest = std::max_element(
        x->begin(), x->end(), [](double one, double other) { return std::abs(one) < std::abs(other); });
    if (!(std::abs(*largest) > most)) return;
    const std::int64_t at = largest - x->begin();
    negate_column(u, n, at / n);
    negate_column(u, n, at % n);
  }
}

}  // namespace laconic
