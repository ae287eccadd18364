// A problem whose smoothness is known, which is what EF21's step sizes are computed from (card 04).
#pragma once

#include <vector>

#include "methods/gradients/oracle.h"

namespace laconic {

class SmoothProblem : public Oracle {
 public:
  virtual double smoothness() const = 0;                             // L of f = (1/n) sum f_i
  virtual const std::vector<double>& worker_smoothness() const = 0;  // L_i
  // The square of |grad f|, without noise.
  virtual double squared_gradient(std::span<const double> point) const = 0;
};

}  // namespace laconic
