// The share of coordinates that is sent, by epoch: large at first, when gradients change fast, then the final
// one (Deep Gradient Compression, section 3.2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/codec/codec.h"

namespace laconic::dgc {

struct SparsitySchedule {
  double ratio = 0.001;         // after the warm-up, in (0, 1]
  std::vector<double> warm_up;  // by epoch

  double at(std::uint64_t epoch) const;  // from 0
  std::string text() const;
};

// max(ratio^((e + 1) / (epochs + 1)), ratio) for the epochs of the warm-up.
SparsitySchedule exponential_schedule(double ratio, std::int64_t epochs);
// From the parameters ratio, warmup_epochs and warmup ("0.25_0.063_0.015", instead of the formula). Throws
// Error(usage) on shares outside (0, 1] and on a list that is shorter than the epochs that are asked for.
SparsitySchedule schedule_from(const Parameters& parameters);
std::vector<ParameterSpec> schedule_parameters();

}  // namespace laconic::dgc
