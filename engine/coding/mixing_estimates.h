// Probabilities that learn: fast at first, slower with every bit seen.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/coding/mixing_logistic.h"

namespace laconic {

// 1 / (n + 3/2) in 65536ths.
inline constexpr auto mixing_rates = [] {
  std::array<std::uint16_t, 1024> rates{};
  for (std::uint32_t n = 0; n < 1024; ++n) rates[n] = static_cast<std::uint16_t>(131072 / (2 * n + 3));
  return rates;
}();

// P(one) in 2^-22, and how many bits it has learnt from (10 bits).
class AdaptiveEstimate {
 public:
  AdaptiveEstimate() = default;
  AdaptiveEstimate(std::uint32_t probability16, std::uint32_t seen) : packed_(probability16 << 16 | seen) {}

  std::uint32_t probability() const { return packed_ >> 16; }  // in 65536ths
  void learn(int bit, std::uint32_t limit) {
    const std::uint32_t seen = packed_ & 1023;
    const std::int32_t now = static_cast<std::int32_t>(packed_ >> 10);
    const std::int32_t goal = bit != 0 ? (1 << 22) - 1 : 0;
    const std::int32_t moved =
        now + static_cast<std::int32_t>((std::int64_t{goal - now} * mixing_rates[seen]) >> 16);
    packed_ = static_cast<std::uint32_t>(moved) << 10 | (seen < limit ? seen + 1 : limit);
  }

 private:
  std::uint32_t packed_ = 32768u << 16;
};

// Curves from logits to probabilities, learnt at 33 points (secondary estimation).
class LogitCurves {
 public:
  LogitCurves(int curves_log2, const LogisticTables& tables)
      : mask_((1u << curves_log2) - 1), points_((std::size_t{mask_} + 1) * points) {
    std::array<std::uint32_t, points> curve{};
    for (int i = 0; i < static_cast<int>(points); ++i)
      curve[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(tables.squash((i - 16) * spacing))
                                           << fraction;
    for (std::size_t i = 0; i < points_.size(); i += points)
      std::copy(curve.begin(), curve.end(), &points_[i]);
  }

  // The curve of a hash: fetched into the cache while its logit is still being found.
  void choose(std::uint32_t hash) {
    first_ = (hash & mask_) * points;
    for (std::size_t i = 0; i < points; i += 16) __builtin_prefetch(&points_[first_ + i]);
  }
  // The probability in 65536ths, between the two points beside the logit.
  std::uint32_t refine(int logit) {
    const int shifted = std::clamp(logit, -logit_limit, logit_limit) + 16 * spacing;
    const std::size_t low = first_ + static_cast<std::size_t>(shifted / spacing);
    const auto part = static_cast<std::uint32_t>(shifted % spacing);
    nearest_ = low + (part >= spacing / 2 ? 1 : 0);
    return ((points_[low] >> fraction) * (spacing - part) + (points_[low + 1] >> fraction) * part) / spacing;
  }
  // Moves the nearest point of the last logit by 2^-rate of the way.
  void learn(int bit, int rate) {
    std::uint32_t& point = points_[nearest_];
    if (bit != 0) {
      point += ((65535u << fraction) - point) >> rate;
    } else {
      point -= point >> rate;
    }
  }

 private:
  static constexpr std::size_t points = 33;
  static constexpr int spacing = 192;
  static constexpr int fraction = 12;  // bits of a point behind 65536ths

  std::uint32_t mask_;
  std::vector<std::uint32_t> points_;
  std::size_t first_ = 0, nearest_ = 0;
};

}  // namespace laconic
