#include "engine/transport/cost_model.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// `rounds` rounds in which every rank sends `bytes`.
double rounds_seconds(const Link& link, int ranks, int rounds, double bytes) {
  const double together = link.shared ? ranks : 1;
  return rounds * (link.alpha + together * bytes * link.beta);
}

}  // namespace

double ring_all_reduce_seconds(const Link& link, int ranks, double bytes) {
  return rounds_seconds(link, ranks, 2 * (ranks - 1), bytes / ranks);
}

double all_gather_seconds(const Link& link, int ranks, double bytes) {
  // The messages to the others leave back to back: one latency, and the bytes of all of them.
  if (ranks == 1) return 0;
  return link.alpha + (ranks - 1) * bytes * link.beta * (link.shared ? ranks : 1);
}

double owners_seconds(const Link& link, int ranks, double part_bytes) {
  return 2 * all_gather_seconds(link, ranks, part_bytes);
}

double broadcast_seconds(const Link& link, int ranks, double bytes) {
  const double rounds = std::ceil(std::log2(static_cast<double>(ranks)));
  if (!link.shared) return rounds * (link.alpha + bytes * link.beta);
  return rounds * link.alpha + (ranks - 1) * bytes * link.beta;
}

double step_seconds(const StepCost& cost) {
  const double hidden = std::min(cost.communicate, cost.overlap * cost.compute);
  return cost.compute + cost.encode + cost.decode + cost.communicate - hidden;
}

double largest_speedup(double compute_seconds, double dense_seconds) {
  require(compute_seconds > 0, "computation takes time");
  return (compute_seconds + dense_seconds) / compute_seconds;
}

Link fit_link(const double* bytes, const double* seconds, int count) {
  double mean_bytes = 0, mean_seconds = 0;
  for (int i = 0; i < count; ++i) mean_bytes += bytes[i] / count, mean_seconds += seconds[i] / count;
  double above = 0, below = 0;
  for (int i = 0; i < count; ++i) {
    above += (bytes[i] - mean_bytes) * (seconds[i] - mean_seconds);
    below += (bytes[i] - mean_bytes) * (bytes[i] - mean_bytes);
  }
  require(below > 0, "a link is fitted to messages of different sizes");
  Link link;
  link.beta = std::max(0.0, above / below);
  link.alpha = std::max(0.0, mean_seconds - link.beta * mean_bytes);
  return link;
}

}  // namespace laconic
