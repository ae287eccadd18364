#include "methods/gradients/ef21-weighted/step_sizes.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {

double ef21_xi(double alpha) {
  if (!(alpha > 0 && alpha <= 1)) fail(ErrorKind::usage, "lies outside 0 to 1", "alpha");
  return (1 + std::sqrt(1 - alpha)) / alpha - 1;
}

double arithmetic_mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double quadratic_mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

double ef21_step(double smoothness, double mean, double alpha) {
  const double step = 1 / (smoothness + mean * ef21_xi(alpha));
  if (!(step > 0) || !std::isfinite(step))
    fail(ErrorKind::usage, "no positive step size follows from these constants", "smoothness");
  return step;
}

std::vector<double> smoothness_weights(std::span<const double> smoothness) {
  double sum = 0;
  for (const double value : smoothness) {
    if (!(value > 0) || !std::isfinite(value))
      fail(ErrorKind::usage, "is not a positive number", "smoothness of a worker",
           "give workers without data no part, or the smoothness of their share of all data");
    sum += value;
  }
  std::vector<double> weights;
  for (const double value : smoothness) weights.push_back(value / sum);
  return weights;
}

std::vector<double> measured_weights(std::span<const double> smoothness) {
  const double mean = arithmetic_mean(smoothness);
  if (!(mean >= 0) || !std::isfinite(mean))
    fail(ErrorKind::input, "is not finite", "measured smoothness of the workers");
  std::vector<double> bounded;
  for (const double value : smoothness)
    bounded.push_back(mean > 0 ? std::clamp(value, 0.1 * mean, 10 * mean) : 1);
  return smoothness_weights(bounded);
}

}  // namespace laconic
