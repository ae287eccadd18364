// eval with --cache: what a compressed KV cache costs, protocol P2.
#pragma once

#include "apps/cli/verb.h"

namespace laconic::cli {

int eval_cache(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
