#include "methods/gradients/training/measured_smoothness.h"

#include <cstddef>
#include <vector>

#include "engine/math/power_iteration.h"

namespace laconic {

double measured_smoothness(TrainingReplica& replica, std::span<const float> point,
                           std::span<const std::int64_t> examples, int most_iterations) {
  // Far enough that the difference of two f32 gradients has digits left, near enough for networks.
  constexpr double radius = 1e-2, tolerance = 1e-2;
  std::vector<float> here(point.size()), moved(point.size()), there(point.size());
  replica.gradient(point, examples, here);
  const auto product = [&](std::span<const double> direction, std::span<double> result) {
    for (std::size_t j = 0; j < point.size(); ++j)
      moved[j] = point[j] + static_cast<float>(radius * direction[j]);
    replica.gradient(moved, examples, there);
    for (std::size_t j = 0; j < point.size(); ++j)
      result[j] = (static_cast<double>(there[j]) - static_cast<double>(here[j])) / radius;
  };
  return largest_eigenvalue(point.size(), product, tolerance, most_iterations);
}

}  // namespace laconic
