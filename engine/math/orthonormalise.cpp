#include "engine/math/orthonormalise.h"

#include <cmath>
#include <vector>

#include "engine/base/error.h"

namespace laconic {
namespace {

double inner_product_of(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

void orthonormalise_columns(std::span<float> a, std::int64_t rows, std::int64_t columns) {
  require(rows >= 0 && columns >= 0 && a.size() == static_cast<std::size_t>(rows * columns),
          "a matrix has rows times columns numbers");
  constexpr double dependent = 1e-6;
  const auto n = static_cast<std::size_t>(rows), width = static_cast<std::size_t>(columns);
  std::vector<std::vector<double>> done;
  for (std::size_t j = 0; j < width; ++j) {
    std::vector<double> column(n);
    for (std::size_t i = 0; i < n; ++i) column[i] = a[i * width + j];
    const double length = std::sqrt(inner_product_of(column, column));
    for (int pass = 0; pass < 2; ++pass) {
      for (const std::vector<double>& other : done) {
        const double share = inner_product_of(other, column);
        for (std::size_t i = 0; i < n; ++i) column[i] -= share * other[i];
      }
    }
    const double left = std::sqrt(inner_product_of(column, column));
    if (left > dependent * length) {
      for (double& value : column) value /= left;
      done.push_back(column);
    } else {
      column.assign(n, 0.0);
    }
    for (std::size_t i = 0; i < n; ++i) a[i * width + j] = static_cast<float>(column[i]);
  }
}

}  // namespace laconic
