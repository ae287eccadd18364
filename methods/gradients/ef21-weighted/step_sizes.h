// What EF21's theory computes from smoothness and the compressor (card 04):
//
//   C in B(alpha): E |C(z) - z|^2 <= (1 - alpha) |z|^2;   an unbiased Q of variance omega is used as
//   Q / (1 + omega), alpha = 1 / (1 + omega)
//   xi(alpha) = (1 + sqrt(1 - alpha)) / alpha - 1
//   old step size  1 / (L + L_QM xi),  L_QM = sqrt(mean L_i^2)        (arXiv 2106.05203)
//   new step size  1 / (L + L_AM xi),  L_AM = mean L_i                (arXiv 2402.10774)
#pragma once

#include <span>
#include <vector>

namespace laconic {

// alpha in (0, 1]; throws Error(usage) otherwise.
double ef21_xi(double alpha);
double arithmetic_mean(std::span<const double> values);
double quadratic_mean(std::span<const double> values);
// 1 / (smoothness + mean xi). Throws Error(usage) when that is no positive number.
double ef21_step(double smoothness, double mean, double alpha);
// w_i = L_i / sum L_j. Throws Error(usage) on L_i that are not positive and finite.
std::vector<double> smoothness_weights(std::span<const double> smoothness);
// Of n measured L_i, which may be far from the truth: w_i kept within 0.1 / n and 10 / n before they are made
// to sum to 1. A flat loss (L_i = 0) has the least weight; all flat: all the same.
std::vector<double> measured_weights(std::span<const double> smoothness);

}  // namespace laconic
