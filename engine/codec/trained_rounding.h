// Codes on fixed grids by projected gradient descent: the first-level approximation of decoupleQ (Guo et al.
// 2024), slower than a GPTQ sweep and meant for small layers.
//
// w' starts at w and follows Adam on the gradient (w' - w) H, projected to the box of its grid after every
// step. Then, column by column from left to right: round w'_j to its grid, fix it, and let the remaining
// columns take a few more steps (the moments carry on).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/codec/uniform_grid.h"

namespace laconic {

struct TrainedRoundingOptions {
  int steps_before_rounding = 50;  // 0 to 200
  int steps_per_column = 5;        // 5 to 50
  float learning_rate = 1e-3f;     // in units of the weights
  Rounding rounding = Rounding::half_up;
};

std::vector<std::uint8_t> trained_codes(const float* weights, const GridParameters& parameters,
                                        const double* h, const TrainedRoundingOptions& options = {});

}  // namespace laconic
