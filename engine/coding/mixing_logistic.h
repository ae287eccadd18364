// The logistic curve and its inverse in integers, for models that add their opinions as log-odds.
//
// A logit is 256 ln(p / (1 - p)), an integer within -3071..3071; a probability is in 65536ths, 1..65535.
// Both tables come from integer products alone, so they are the same on every machine.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace laconic {

inline constexpr int logit_limit = 3071;

class LogisticTables {
 public:
  static const LogisticTables& shared();

  // The probability of a logit; one beyond the limits counts as the limit.
  int squash(int logit) const {
    const int place = std::clamp(logit, -logit_limit, logit_limit) + logit_limit;
    return squash_[static_cast<std::size_t>(place)];
  }
  // probability: 0..65535.
  int stretch(std::uint32_t probability) const { return stretch_[probability]; }

 private:
  LogisticTables();

  std::array<std::uint16_t, 2 * logit_limit + 1> squash_{};
  std::array<std::int16_t, 65536> stretch_{};
};

}  // namespace laconic
