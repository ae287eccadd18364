// The bilinear saddle point that MASHA is studied on (Beznosikov et al. 2022, section 5; card 08):
//
//   min_x max_y (1/M) sum_m x^T A_m y + a_m^T x + b_m^T y + lambda/2 |x|^2 - lambda/2 |y|^2
//   F_m(x, y) = (A_m y + a_m + lambda x,  -A_m^T x - b_m + lambda y),   z = (x, y)
//
// A_m ~ N(0, 1) for every entry, a_m and b_m ~ N(0, 100).
#pragma once

#include <vector>

#include "methods/gradients/oracle.h"

namespace laconic {

class BilinearSaddle : public Oracle {
 public:
  BilinearSaddle(std::size_t half, int devices, double lambda, std::uint64_t seed);

  std::size_t dimension() const override { return 2 * half_; }
  int workers() const override { return devices_; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override;

  double strong_monotonicity() const { return lambda_; }
  double lipschitz() const { return lipschitz_; }            // L of F
  double mean_lipschitz() const { return mean_lipschitz_; }  // root of the mean of L_m^2
  const std::vector<double>& solution() const { return solution_; }
  // |z - z*|^2 / |z*|^2
  double distance(std::span<const double> point) const;

 private:
  std::size_t half_;
  int devices_;
  double lambda_, lipschitz_ = 0, mean_lipschitz_ = 0;
  std::vector<double> matrices_, transposed_;  // [devices, half, half]
  std::vector<double> linear_;                 // [devices, 2 half]: a_m, -b_m
  std::vector<double> solution_;
};

}  // namespace laconic
