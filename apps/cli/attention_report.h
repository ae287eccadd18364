// laconic bench attention: the speed of the tiled kernel, and with --plan what attention has to move.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "apps/cli/verb.h"

namespace laconic::cli {

// An array of rows, those with a promise with "met"; also printed unless JSON is asked for.
nlohmann::json attention_speeds(const Arguments& arguments, const Session& session);
// Returns the exit code.
int attention_plans(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
