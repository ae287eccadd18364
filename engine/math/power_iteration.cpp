#include "engine/math/power_iteration.h"

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

double largest_eigenvalue(std::size_t dimension,
                          const std::function<void(std::span<const double>, std::span<double>)>& multiply,
                          double tolerance, int most_iterations) {
  if (dimension == 0) return 0;
  const RandomStream random(0, "power iteration", "");
  std::vector<double> vector(dimension), product(dimension);
  double length = 0;
  for (std::size_t i = 0; i < dimension; ++i) {
    vector[i] = static_cast<double>(random.gaussian_at(i));
    length += vector[i] * vector[i];
  }
  length = std::sqrt(length);
  double before = 0;
  for (int iteration = 0; iteration < most_iterations; ++iteration) {
    for (double& value : vector) value /= length;
    multiply(vector, product);
    double quotient = 0, square = 0;
    for (std::size_t i = 0; i < dimension; ++i) {
      quotient += vector[i] * product[i];
      square += product[i] * product[i];
    }
    if (square == 0) return 0;
    if (iteration > 0 && std::abs(quotient - before) <= tolerance * quotient) return quotient;
    before = quotient;
    length = std::sqrt(square);
    vector.swap(product);
  }
  return before;
}

}  // namespace laconic
