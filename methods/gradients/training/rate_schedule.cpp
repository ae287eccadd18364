#include "methods/gradients/training/rate_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace laconic {

double RateSchedule::at(std::int64_t step) const {
  if (step <= warmup) return rate * static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == Kind::cosine) {
    constexpr double pi = 3.14159265358979323846;
    const auto span = static_cast<double>(std::max<std::int64_t>(steps - warmup, 1));
    const double progress = std::min(static_cast<double>(step - warmup) / span, 1.0);
    return rate * (final_share + (1 - final_share) * 0.5 * (1 + std::cos(pi * progress)));
  }
  if (kind == Kind::steps) {
    const auto passed = std::count_if(falls.begin(), falls.end(), [&](std::int64_t at) { return step > at; });
    return rate * std::pow(fall, static_cast<double>(passed));
  }
  return rate;
}

std::string RateSchedule::text() const {
  std::string text = fmt::format("rate {}", rate);
  if (warmup > 0) text += fmt::format(" warm-up {}", warmup);
  if (kind == Kind::cosine) text += fmt::format(" cosine to {} over {}", final_share, steps);
  if (kind == Kind::steps) text += fmt::format(" times {} after {}", fall, fmt::join(falls, ","));
  return text;
}

}  // namespace laconic
