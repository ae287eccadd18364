// The largest eigenvalue of a symmetric positive semidefinite operator that is known by its products with
// vectors: v <- H v / |H v|, until the Rayleigh quotient moves by less than `tolerance` of itself.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

namespace laconic {

// `multiply` writes H v. The start is drawn from a fixed stream. 0 for the zero operator.
double largest_eigenvalue(std::size_t dimension,
                          const std::function<void(std::span<const double>, std::span<double>)>& multiply,
                          double tolerance = 1e-6, int most_iterations = 10000);

}  // namespace laconic
