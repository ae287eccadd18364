// The parts of `laconic kv`: what it does with files, and with other machines.
#pragma once

#include "apps/cli/verb.h"

namespace laconic::cli {

int kv_save(const Arguments& arguments, const Session& session);
int kv_inspect(const Arguments& arguments, const Session& session);
int kv_profile(const Arguments& arguments, const Session& session);
int kv_load(const Arguments& arguments, const Session& session);
int kv_serve(const Arguments& arguments, const Session& session);
int kv_fetch(const Arguments& arguments, const Session& session);

}  // namespace laconic::cli
