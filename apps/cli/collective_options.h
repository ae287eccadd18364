// What the verbs of collectives over TCP share: keys, and how a master's state is shown.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/cli/verb.h"
#include "engine/transport/tcp/master.h"

namespace laconic::cli {

// --key-file, --tls, --unauthenticated
std::vector<OptionSpec> link_options();
LinkSettings link_settings(const Arguments& arguments);

std::string status_text(const MasterStatus& status);
nlohmann::json status_json(const MasterStatus& status);

}  // namespace laconic::cli
