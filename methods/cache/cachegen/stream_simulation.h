// Loading a context over a link whose rate changes, simulated: the loader of context_store.h (the next chunk
// is read while this one is decoded or computed) against a seeded trace. Times are simulated times.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/cache/cachegen/controller.h"

namespace laconic {

// Rates of a link in steps; the last one lasts.
struct LinkTrace {
  struct Step {
    double until = 0, bits_per_second = 0;
  };
  std::vector<Step> steps;

  // Steps of `shortest` to `longest` seconds, rates between `low` and `high` even in their logarithm.
  static LinkTrace random(std::uint64_t seed, double low, double high, double shortest, double longest,
                          double duration);
  static LinkTrace constant(double bits_per_second);
  // When the last of `bytes` arrives that begin to leave at `start`.
  double arrival(double start, double bytes) const;
};

struct SimulatedContext {
  std::vector<std::vector<std::uint64_t>> bytes;  // [chunk][form], finest first
  std::vector<std::uint64_t> text_bytes;
  std::vector<std::int64_t> tokens;
  double decode_bytes_per_second = 1e9;  // of coded bytes
  PrefillCost prefill;

  std::size_t forms() const { return bytes.front().size(); }
};

struct SimulatedLoad {
  double seconds = 0;              // until the last chunk is decoded or computed
  std::vector<std::size_t> forms;  // of each chunk; context.forms(): text
};
SimulatedLoad simulate_load(const SimulatedContext& context, const LinkTrace& link, ChunkPolicy& policy);
// The least time that any choice of forms takes, by whoever knows the link.
double least_load_seconds(const SimulatedContext& context, const LinkTrace& link);

}  // namespace laconic
