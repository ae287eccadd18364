#include "engine/math/power_iteration.h"

#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

double norm_of(std::span<const double> vector) {
  double square = 0;
  for (const double value : vector) square += value * value;
  return std::sqrt(square);
}

}  // namespace

double largest_eigenvalue(
    std::size_t dimension,
    const std::function<void(std::span<const double> vector, std::span<double> product)>& apply,
    double tolerance, int most_iterations) {
  std::vector<double> vector(dimension), product(dimension);
  RandomStream random(0, "power iteration", "start");
  for (double& value : vector) value = random.gaussian();
  double length = norm_of(vector), before = 0;
  for (int iteration = 0; iteration < most_iterations && length > 0; ++iteration) {
    for (double& value : vector) value /= length;
    apply(vector, product);
    length = norm_of(product);
    if (!std::isfinite(length)) fail(ErrorKind::input, "power iteration met a number that is not finite");
    vector.swap(product);
    if (std::abs(length - before) <= tolerance * length) break;
    before = length;
  }
  return length;
}

}  // namespace laconic
