// Parameters that all methods of local steps have.
#pragma once

#include <vector>

#include "methods/gradients/local/local_method.h"

namespace laconic {

// tau, tau_cap, mean; `tau`: its default. `finds_tau`: 0 finds it.
std::vector<ParameterSpec> local_parameters(const char* tau, bool finds_tau = true);
// sharded
ParameterSpec sharded_parameter();
RoundLengthSettings round_length(const Parameters& parameters);
// What workers contribute: their points where the mean is dense, displacements where it is coded, unless
// said.
RoundMean round_mean(const LocalRequest& request);

}  // namespace laconic
