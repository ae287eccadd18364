// The learning rate of a step: a linear warm-up, then constant, a cosine, or falls at given steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace laconic {

struct RateSchedule {
  enum class Kind { constant, cosine, steps } kind = Kind::constant;
  double rate = 0.1;
  std::int64_t warmup = 0;          // steps; step t of them has rate t / warmup
  double final_share = 0;           // cosine: of the rate, at the last step
  std::vector<std::int64_t> falls;  // steps: after each of these the rate is multiplied by `fall`
  double fall = 0.1;
  std::int64_t steps = 0;  // of the run

  double at(std::int64_t step) const;  // steps count from 1
  std::string text() const;
};

}  // namespace laconic
