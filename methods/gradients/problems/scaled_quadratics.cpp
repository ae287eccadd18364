#include "methods/gradients/problems/scaled_quadratics.h"

#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/random_fill.h"

namespace laconic {

ScaledQuadratics::ScaledQuadratics(const ScaledQuadraticsSettings& settings) : settings_(settings) {
  require(settings.dimension > 0 && settings.workers > 0, "a problem has numbers and workers");
  const std::size_t d = settings.dimension;
  optimum_.assign(d, 0.0);
  for (int i = 1; i <= settings.workers; ++i) {
    const double scale = settings.equal_scales ? 1 : i / std::sqrt(static_cast<double>(settings.workers));
    const RandomStream random(settings.seed, "scaled quadratics", "target " + std::to_string(i));
    std::vector<double> target(d);
    for (std::size_t j = 0; j < d; ++j) {
      target[j] = settings.heterogeneity / i * static_cast<double>(random.gaussian_at(j));
      optimum_[j] += scale * target[j];
    }
    scales_.push_back(scale);
    targets_.push_back(std::move(target));
    curvature_ += scale * scale;
  }
  for (double& value : optimum_) value /= curvature_;
  curvature_ /= settings.workers;
  noise_key_ = RandomStream(settings.seed, "scaled quadratics", "noise").key();
}

void ScaledQuadratics::evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                                std::span<double> gradient) const {
  const auto index = static_cast<std::size_t>(worker);
  const double scale = scales_[index];
  const std::vector<double>& target = targets_[index];
  for (std::size_t j = 0; j < gradient.size(); ++j) gradient[j] = scale * (scale * point[j] - target[j]);
  if (settings_.noise == 0) return;
  thread_local std::vector<float> draws;
  draws.resize(gradient.size());
  random_gaussians(RandomStream(noise_key_, sample, static_cast<std::uint16_t>(worker)), draws);
  const double deviation = settings_.noise / std::sqrt(static_cast<double>(gradient.size()));
  for (std::size_t j = 0; j < gradient.size(); ++j) gradient[j] += deviation * static_cast<double>(draws[j]);
}

double ScaledQuadratics::gap(std::span<const double> point) const {
  double square = 0;
  for (std::size_t j = 0; j < point.size(); ++j)
    square += (point[j] - optimum_[j]) * (point[j] - optimum_[j]);
  return curvature_ / 2 * square;
}

std::vector<std::vector<double>> ScaledQuadratics::gradients_at_optimum() const {
  std::vector<std::vector<double>> gradients;
  for (std::size_t i = 0; i < scales_.size(); ++i) {
    std::vector<double> gradient(optimum_.size());
    for (std::size_t j = 0; j < gradient.size(); ++j)
      gradient[j] = scales_[i] * (scales_[i] * optimum_[j] - targets_[i][j]);
    gradients.push_back(std::move(gradient));
  }
  return gradients;
}

}  // namespace laconic
