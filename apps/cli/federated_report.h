// The HTML report of a federated run: accuracy and loss against uplink, loss against rounds, what each
// direction cost and what was left out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/federated/federated_training.h"

namespace laconic::cli {

// `settings`: what the run was, by name. `rounds`: those since the run began or went on.
std::string federated_html(const std::vector<std::pair<std::string, std::string>>& settings,
                           const std::string& unit, int participants, const std::vector<RoundRecord>& rounds,
                           const FederatedResult& result);

}  // namespace laconic::cli
