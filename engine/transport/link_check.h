// The cost model against the link it is made for: alpha and beta are fitted to some exchanges, others are
// predicted with them and measured.
#pragma once

#include <string>
#include <vector>

#include "engine/transport/communicator.h"
#include "engine/transport/cost_model.h"

namespace laconic {

struct LinkCheck {
  Link link;
  struct Row {
    std::string exchange;                // "all-reduce"
    double bytes = 0;                    // as the model counts them
    double predicted = 0, measured = 0;  // seconds, the slowest rank's
  };
  std::vector<Row> rows;
};

// All ranks call it and get the same. `shared`: all ranks share one link, as on a limited loopback. `rounds`:
// of each exchange, medians are taken over. Throws Error(usage) for a single rank.
LinkCheck check_link(Communicator& communicator, bool shared, int rounds);

}  // namespace laconic
