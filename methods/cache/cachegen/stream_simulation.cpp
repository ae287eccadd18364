#include "methods/cache/cachegen/stream_simulation.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

// Where reading and using stand.
struct LoadClock {
  double read = 0, used = 0;
};

LoadClock after_chunk(const SimulatedContext& context, const LinkTrace& link, LoadClock clock,
                      std::size_t chunk, std::size_t form, std::int64_t first) {
  const bool text = form == context.forms();
  const double bytes = static_cast<double>(text ? context.text_bytes[chunk] : context.bytes[chunk][form]);
  clock.read = link.arrival(clock.read, bytes);
  const double use =
      text ? context.prefill.seconds(first, context.tokens[chunk]) : bytes / context.decode_bytes_per_second;
  const double begin = std::max(clock.read, clock.used);
  clock.used = begin + use;
  // The loader asks for the next chunk when it takes this one into use.
  clock.read = begin;
  return clock;
}

}  // namespace

LinkTrace LinkTrace::random(std::uint64_t seed, double low, double high, double shortest, double longest,
                            double duration) {
  require(low > 0 && high >= low && shortest > 0 && longest >= shortest, "a link has rates for some time");
  RandomStream draws(seed, "link", "trace");
  LinkTrace trace;
  for (double at = 0; at < duration;) {
    at += shortest + (longest - shortest) * static_cast<double>(draws.uniform());
    trace.steps.push_back({at, low * std::pow(high / low, static_cast<double>(draws.uniform()))});
  }
  return trace;
}

LinkTrace LinkTrace::constant(double bits_per_second) { return {{{0, bits_per_second}}}; }

double LinkTrace::arrival(double start, double bytes) const {
  double bits = 8 * bytes, at = start;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool last = i + 1 == steps.size();
    if (!last && steps[i].until <= at) continue;
    const double rate = steps[i].bits_per_second;
    const double needed = bits / rate;
    if (last || at + needed <= steps[i].until) return at + needed;
    bits -= rate * (steps[i].until - at);
    at = steps[i].until;
  }
  return at;
}

SimulatedLoad simulate_load(const SimulatedContext& context, const LinkTrace& link, ChunkPolicy& policy) {
  SimulatedLoad load;
  LoadClock clock;
  std::int64_t first = 0;
  for (std::size_t chunk = 0; chunk < context.bytes.size(); ++chunk) {
    const std::size_t form = policy.choose(chunk, clock.read);
    const bool text = form >= context.forms();
    const double begin = clock.read;
    const std::uint64_t bytes = text ? context.text_bytes[chunk] : context.bytes[chunk][form];
    const double read = link.arrival(begin, static_cast<double>(bytes));
    clock = after_chunk(context, link, clock, chunk, std::min(form, context.forms()), first);
    policy.observe(bytes, read - begin);
    load.forms.push_back(std::min(form, context.forms()));
    first += context.tokens[chunk];
  }
  load.seconds = clock.used;
  return load;
}

double least_load_seconds(const SimulatedContext& context, const LinkTrace& link) {
  // A finer form never arrives before a coarser one: only the smallest and text are worth trying. What begins
  // earlier never ends later, so clocks that another one beats in both need not be followed.
  std::vector<LoadClock> clocks = {{}}, next;
  std::int64_t first = 0;
  for (std::size_t chunk = 0; chunk < context.bytes.size(); ++chunk) {
    const auto& sizes = context.bytes[chunk];
    const auto smallest =
        static_cast<std::size_t>(std::min_element(sizes.begin(), sizes.end()) - sizes.begin());
    next.clear();
    for (const LoadClock& clock : clocks) {
      for (const std::size_t form : {smallest, context.forms()})
        next.push_back(after_chunk(context, link, clock, chunk, form, first));
    }
    std::sort(next.begin(), next.end(), [](const LoadClock& a, const LoadClock& b) {
      return a.used != b.used ? a.used < b.used : a.read < b.read;
    });
    clocks.clear();
    for (const LoadClock& clock : next) {
      if (clocks.empty() || clock.read < clocks.back().read) clocks.push_back(clock);
    }
    first += context.tokens[chunk];
  }
  return clocks.front().used;
}

}  // namespace laconic
