// The quadratics that EControl is studied on (Gao, Islamov, Stich 2024, section 5; card 03):
//
//   f_i(x) = 1/2 |a_i x - b_i|^2,   a_i = i / sqrt n for i = 1 .. n, or all 1,   b_i ~ N(0, (zeta / i)^2 I)
//   gradient_i = a_i (a_i x - b_i) + noise of total standard deviation sigma
#pragma once

#include <vector>

#include "methods/gradients/oracle.h"

namespace laconic {

struct ScaledQuadraticsSettings {
  std::size_t dimension = 200;
  int workers = 5;
  bool equal_scales = false;  // a_i = 1
  double heterogeneity = 0;   // zeta
  double noise = 0;           // sigma
  std::uint64_t seed = 0;     // of the b_i and the noise
};

class ScaledQuadratics : public Oracle {
 public:
  explicit ScaledQuadratics(const ScaledQuadraticsSettings& settings);

  std::size_t dimension() const override { return settings_.dimension; }
  int workers() const override { return settings_.workers; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> gradient) const override;

  const std::vector<double>& optimum() const { return optimum_; }
  // f(x) - f(optimum), free of cancellation.
  double gap(std::span<const double> point) const;
  // Gradients of the f_i at the optimum, without noise: what EC-Ideal is given.
  std::vector<std::vector<double>> gradients_at_optimum() const;

 private:
  ScaledQuadraticsSettings settings_;
  std::vector<double> scales_;
  std::vector<std::vector<double>> targets_;
  std::vector<double> optimum_;
  double curvature_ = 0;  // mean of a_i^2
  std::uint64_t noise_key_ = 0;
};

}  // namespace laconic
