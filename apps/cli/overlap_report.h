// laconic bench overlap: a product with its reduce-scatter in every form, beside the model.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "apps/cli/verb.h"

namespace laconic::cli {

// Also printed unless JSON is asked for.
nlohmann::json overlap_speeds(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
