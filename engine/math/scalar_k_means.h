// k-means on a line: values of which many may be zero, Lloyd's iterations, centres as arithmetic means.
// (Lloyd 1982; starts and rules of convention C6, card 06.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

enum class CentreStart {
  line,       // evenly from the least to the largest value
  quantiles,  // values at ranks (i + 1/2) / k
  spread,     // k-means++ (Arthur and Vassilvitskii 2007), at random
};

// Values, and how many zeros stand beside them: those are counted in bulk.
struct ScalarSet {
  std::span<const float> values;
  std::int64_t zeros = 0;
};

// k >= 1 centres, ascending. Requires finite values, at least one or zeros > 0. `random` is drawn
// from by spread alone.
std::vector<float> start_centres(const ScalarSet& set, int k, CentreStart start, RandomStream& random);

// The nearest centre; ties go to the lower index.
std::size_t nearest_centre(float value, std::span<const float> centres);

// `iterations` times: every value to its nearest centre, then every centre to the mean of its values. A
// centre without values stays. The centre `pinned` (-1: none) becomes 0 at every update and is not a mean.
void lloyd_iterations(const ScalarSet& set, std::span<float> centres, int iterations, int pinned = -1);

// Sum of squared distances to the nearest centres.
double k_means_objective(const ScalarSet& set, std::span<const float> centres);

}  // namespace laconic
