// Data that are generated, so that everything runs on a machine without data sets. The same seed gives the
// same examples; the first n of a longer set are those of a shorter one.
#pragma once

#include <cstdint>

#include "engine/dataset/images.h"
#include "engine/dataset/libsvm.h"

namespace laconic {

enum class SetPart { train, test };  // different examples of one world

struct SyntheticClasses {
  std::int64_t examples = 2000, side = 8;
  std::int32_t classes = 10;
  double contrast = 24;  // standard deviation of a class's mean picture, in grey levels
  double noise = 48;     // of a pixel around it
};
// A Gaussian mixture of pictures: every class has a smooth mean picture; labels go round.
ImageExamples synthetic_classes(const SyntheticClasses& settings, SetPart part, std::uint64_t seed);

// Rows of normal numbers in which column j has the standard deviation 1/sqrt(1 + j), labels -1 and +1 by the
// logistic model of a random vector w with normal entries: P(+1) = 1 / (1 + exp(-2 w . a)).
SparseExamples synthetic_logistic(std::int64_t rows, std::int64_t columns, SetPart part, std::uint64_t seed);

// Rows sqrt(L_i) u_i and targets sqrt(L_i) y_i: 1/2 (row . x - target)^2 = L_i/2 (u_i . x - y_i)^2 has the
// smoothness constant L_i = exp(spread * normal); u_i random of unit length, y_i normal. `spread` 0: all 1.
SparseExamples synthetic_quadratic(std::int64_t rows, std::int64_t columns, double spread,
                                   std::uint64_t seed);

}  // namespace laconic
