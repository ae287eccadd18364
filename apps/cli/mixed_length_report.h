// laconic bench mixed-length: what a batch of sequences of mixed lengths costs under each way to plan it.
#pragma once

#include <vector>

#include "apps/cli/verb.h"

namespace laconic::cli {

std::vector<OptionSpec> mixed_length_options();
// Returns the exit code.
int mixed_length_plans(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
