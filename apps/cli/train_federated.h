// laconic train TASK --exchange METHOD, where the method trains over clients in rounds.
#pragma once

#include <vector>

#include "apps/cli/verb.h"

namespace laconic::cli {

// The options beside those of train_task: task, data, model, option, exchange, parameter, partition, batch,
// lr, seed, evaluate-every, evaluate-limit, checkpoint, checkpoint-every, resume and json mean the same.
std::vector<OptionSpec> federated_options();
int train_federated(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
