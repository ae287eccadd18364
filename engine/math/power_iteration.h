// The largest eigenvalue of a symmetric positive semidefinite operator that is known only by its products.
//
//   v <- A v / |A v|, value = |A v|, until the value grows by less than `tolerance` of itself
//
// The value approaches the eigenvalue from below. Source: R. von Mises, H. Pollaczek-Geiringer, 1929.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

namespace laconic {

// apply(v, product) writes A v. The start is a fixed random vector. 0 when the operator is 0.
double largest_eigenvalue(
    std::size_t dimension,
    const std::function<void(std::span<const double> vector, std::span<double> product)>& apply,
    double tolerance = 1e-6, int most_iterations = 10'000);

}  // namespace laconic
