// The sign of singular vectors and eigenvectors, which a factorisation leaves open: the entry of largest
// magnitude is positive (ties: lowest index).
#pragma once

#include <cmath>
#include <cstdint>

namespace laconic {

// Whether the vector of `count` entries, `stride` apart, has to be negated. A zero vector has not.
template <class Real>
bool breaks_sign_rule(const Real* vector, std::int64_t count, std::int64_t stride) {
  Real largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::abs(vector[i * stride]) > std::abs(largest)) largest = vector[i * stride];
  }
  return largest < 0;
}

template <class Real>
void negate(Real* vector, std::int64_t count, std::int64_t stride) {
  for (std::int64_t i = 0; i < count; ++i) vector[i * stride] = -vector[i * stride];
}

}  // namespace laconic
