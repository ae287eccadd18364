// Runs one command line: finds the verb, checks its options, shows progress, turns failures into exit codes.
#pragma once

#include <vector>

#include "apps/cli/verb.h"

namespace laconic::cli {

// 0 done, 1 a claim is not met, 2 bad input or usage, 3 corrupt data, 130 interrupted.
int run(const std::vector<Verb>& verbs, int argc, char** argv);

}  // namespace laconic::cli
