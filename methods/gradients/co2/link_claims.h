// What local steps are worth on a limited link: ranks over MPI in a network of its own.
#pragma once

#include <optional>

#include "methods/reproduce.h"

namespace laconic::co2 {

// Seconds on a link of `rate` for each rank, of the workload that is trained for quality.
struct LinkTimes {
  double megabits = 0;   // per second and rank
  double step = 0;       // a step without communication, all ranks at once
  double reduction = 0;  // an exposed mean of the parameters
};

// Adds the claims on throughput; nothing, and a note, where there is no such network or no MPI.
std::optional<LinkTimes> link_claims(const ReproduceRequest& request, ArmCache& cache, Reproduction& result);

}  // namespace laconic::co2
