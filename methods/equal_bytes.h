// Comparisons at equal bytes (convention C13).
#pragma once

#include <optional>
#include <vector>

namespace laconic {

struct RatePoint {
  double bytes = 0, value = 0;
};
// The value at `bytes`: of the nearest point within 1 %, else interpolated linearly in log rate between the
// two neighbours. Nothing outside the measured range: there is no extrapolation.
std::optional<double> value_at_bytes(std::vector<RatePoint> points, double bytes);

}  // namespace laconic
