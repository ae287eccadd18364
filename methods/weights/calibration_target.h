// What sequential calibration asks of a compressed layer (card 50, beyond the paper; shifted_target.h):
//
// weights: W^ x^ close to W x^, the layer itself on the inputs x^ that the compressed layers before it make.
// outputs: W^ x^ close to W x, what the dense model has at the same token, so that earlier errors are
// repaired. residual: the same, and o and down also repair what the residual stream that they join has lost.
//
// The last two walk the dense model beside the compressed one: twice the walk, one moment more per input.
#pragma once

#include <optional>
#include <vector>

#include "methods/method.h"

namespace laconic {

struct CalibrationTarget {
  bool residual = false;  // outputs otherwise
  double damping = 0;     // of the mean diagonal
  double share = 0;       // of the correction
};

// target (one of the three), target-damping, target-share.
std::vector<ParameterSpec> target_parameters(const char* default_target);
// None for weights. Error(usage) when another was asked for without sequential calibration; a default gives
// way.
std::optional<CalibrationTarget> calibration_target(const Parameters& parameters, bool sequential);

}  // namespace laconic
