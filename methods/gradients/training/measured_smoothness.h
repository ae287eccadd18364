// How smooth a rank's loss is near a point, where no formula says it: networks.
//
//   L_i = |H_i|_2, H_i the Hessian of the rank's loss,  H_i v = (g_i(x + r v) - g_i(x)) / r,  |v| = 1
//
// by power iteration (engine/math/power_iteration.h). Exact for quadratics up to f32 gradients; elsewhere it
// is the curvature at x, which training changes.
#pragma once

#include <cstdint>
#include <span>

#include "methods/gradients/training/training_task.h"

namespace laconic {

// Over `examples`, one gradient an iteration and one before. 0 where the loss is flat. Throws Error(input) on
// gradients that are not finite.
double measured_smoothness(TrainingReplica& replica, std::span<const float> point,
                           std::span<const std::int64_t> examples, int most_iterations = 20);

}  // namespace laconic
