// Stored contexts as users have them, for measurements: `laconic kv serve` and `laconic kv load` as programs,
// over a link of a limited rate (engine/transport/limited_network.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/child_process.h"
#include "engine/transport/limited_network.h"
#include "methods/cache/cachegen/stream_simulation.h"
#include "runtime/cache/context_file.h"

namespace laconic {

struct ServedLoad {
  double first_token = 0;            // seconds from the request to the first token
  double use_seconds = 0;            // of them decoding or computing, next to reading
  std::uint64_t bytes = 0;           // of chunks
  std::vector<std::int64_t> levels;  // of each chunk; 0: text
};

class ServedContexts {
 public:
  // Serves the contexts of a folder from the calling thread's network on. `program`: the command laconic.
  ServedContexts(std::filesystem::path program, const std::filesystem::path& folder);
  // Loads one of them for a model, with options of kv load that say how.
  ServedLoad load(const std::filesystem::path& model, const std::string& name,
                  const std::vector<std::string>& how);
  // The same while the link follows a trace, which begins when the first packet of the request leaves.
  ServedLoad load(const std::filesystem::path& model, const std::string& name,
                  const std::vector<std::string>& how, LimitedNetwork& network, const LinkTrace& link);

 private:
  std::filesystem::path program_;
  ChildProcess server_;
  int port_ = 0;
};

// A context as the simulation takes it; costs are left to the caller.
SimulatedContext simulated_context(const ContextIndex& index);

}  // namespace laconic
