#include "methods/equal_bytes.h"

#include <algorithm>
#include <cmath>

namespace laconic {

std::optional<double> value_at_bytes(std::vector<RatePoint> points, double bytes) {
  const RatePoint* nearest = nullptr;
  for (const RatePoint& point : points) {
    if (std::abs(point.bytes - bytes) > 0.01 * bytes) continue;
    if (nearest == nullptr || std::abs(point.bytes - bytes) < std::abs(nearest->bytes - bytes))
      nearest = &point;
  }
  if (nearest != nullptr) return nearest->value;
  std::sort(points.begin(), points.end(),
            [](const RatePoint& a, const RatePoint& b) { return a.bytes < b.bytes; });
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (points[i - 1].bytes > bytes || points[i].bytes < bytes) continue;
    const double share = (std::log(bytes) - std::log(points[i - 1].bytes)) /
                         (std::log(points[i].bytes) - std::log(points[i - 1].bytes));
    return points[i - 1].value + share * (points[i].value - points[i - 1].value);
  }
  return std::nullopt;
}

}  // namespace laconic
