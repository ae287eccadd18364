#include "engine/math/ring_tour.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::size_t most_subset_nodes = 16;

class RingEdges {
 public:
  RingEdges(std::span<const double> bandwidth, std::size_t nodes) : bandwidth_(bandwidth), nodes_(nodes) {}
  std::size_t nodes() const { return nodes_; }
  double bandwidth(std::size_t from, std::size_t to) const { return bandwidth_[from * nodes_ + to]; }
  double cost(std::size_t from, std::size_t to) const {
    const double value = bandwidth(from, to);
    return value > 0 ? 1 / value : std::numeric_limits<double>::infinity();
  }

 private:
  std::span<const double> bandwidth_;
  std::size_t nodes_;
};

// Paths from node 0 through a subset of the others: best[subset][last]. `join` adds an edge to a path's
// value, smaller is better. Returns the order, or nothing where even the best value is infinite.
template <class Join>
std::vector<std::size_t> best_over_subsets(const RingEdges& edges, const Join& join) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const std::size_t others = edges.nodes() - 1, subsets = std::size_t{1} << others;
  std::vector<double> best(subsets * others, infinity);
  std::vector<std::uint8_t> previous(subsets * others, 0);
  for (std::size_t last = 0; last < others; ++last)
    best[(std::size_t{1} << last) * others + last] = join(0.0, 0, last + 1);
  for (std::size_t subset = 1; subset < subsets; ++subset) {
    for (std::size_t last = 0; last < others; ++last) {
      const double value = best[subset * others + last];
      if (value == infinity) continue;
      for (std::size_t next = 0; next < others; ++next) {
        const std::size_t larger = subset | std::size_t{1} << next;
        if (larger == subset) continue;
        const double joined = join(value, last + 1, next + 1);
        if (joined < best[larger * others + next]) {
          best[larger * others + next] = joined;
          previous[larger * others + next] = static_cast<std::uint8_t>(last);
        }
      }
    }
  }
  const std::size_t all = subsets - 1;
  std::size_t end = 0;
  double least = infinity;
  for (std::size_t last = 0; last < others; ++last) {
    const double closed = join(best[all * others + last], last + 1, 0);
    if (closed < least) least = closed, end = last;
  }
  std::vector<std::size_t> order;
  if (least == infinity) return order;
  for (std::size_t subset = all; subset != 0;) {
    order.push_back(end + 1);
    const std::size_t before = previous[subset * others + end];
    subset &= ~(std::size_t{1} << end);
    end = before;
  }
  order.push_back(0);
  std::reverse(order.begin(), order.end());
  return order;
}

RingTour tour_of(const RingEdges& edges, std::vector<std::size_t> order) {
  RingTour tour;
  tour.bottleneck = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t from = order[i], to = order[(i + 1) % order.size()];
    tour.bottleneck = std::min(tour.bottleneck, edges.bandwidth(from, to));
    tour.cost += edges.cost(from, to);
  }
  tour.order = std::move(order);
  return tour;
}

std::optional<RingTour> exact_ring(const RingEdges& edges) {
  const std::vector<std::size_t> widest = best_over_subsets(
      edges,
      [&](double value, std::size_t from, std::size_t to) { return std::max(value, edges.cost(from, to)); });
  if (widest.empty()) return std::nullopt;
  const double bottleneck = tour_of(edges, widest).bottleneck;
  return tour_of(edges, best_over_subsets(edges, [&](double value, std::size_t from, std::size_t to) {
                   return edges.bandwidth(from, to) >= bottleneck ? value + edges.cost(from, to)
                                                                  : std::numeric_limits<double>::infinity();
                 }));
}

// Missing edges first, so that a search may begin without a ring.
struct RingValue {
  std::size_t missing = 0;
  double slowest = 0, cost = 0;
  friend bool operator<(const RingValue& a, const RingValue& b) {
    return std::tie(a.missing, a.slowest, a.cost) < std::tie(b.missing, b.slowest, b.cost);
  }
};

RingValue value_of(const RingEdges& edges, const std::vector<std::size_t>& order) {
  RingValue value;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double cost = edges.cost(order[i], order[i + 1 == order.size() ? 0 : i + 1]);
    if (std::isinf(cost)) {
      ++value.missing;
    } else {
      value.slowest = std::max(value.slowest, cost);
      value.cost += cost;
    }
  }
  return value;
}

std::vector<std::size_t> nearest_neighbours(const RingEdges& edges, std::size_t first) {
  std::vector<std::size_t> order = {first};
  std::vector<bool> used(edges.nodes());
  used[first] = true;
  while (order.size() < edges.nodes()) {
    std::size_t best = edges.nodes();
    for (std::size_t next = 0; next < edges.nodes(); ++next) {
      if (used[next]) continue;
      if (best == edges.nodes() || edges.cost(order.back(), next) < edges.cost(order.back(), best))
        best = next;
    }
    used[best] = true;
    order.push_back(best);
  }
  return order;
}

// Reversals (2-opt) and segments that move elsewhere, turned or not (Or-opt), taken when not worse.
void improve_ring(const RingEdges& edges, RandomStream& random, std::uint64_t iterations,
                  std::vector<std::size_t>& order) {
  const auto n = static_cast<std::uint32_t>(order.size());
  RingValue value = value_of(edges, order);
  std::vector<std::size_t> changed;
  for (std::uint64_t i = 0; i < iterations; ++i) {
    changed = order;
    const auto at = [&](std::uint32_t index) { return changed.begin() + static_cast<std::ptrdiff_t>(index); };
    std::uint32_t a = random.below(n), b = random.below(n);
    if (a > b) std::swap(a, b);
    const std::uint32_t kind = random.below(4);
    if (kind == 0) {
      std::reverse(at(a), at(b) + 1);
    } else if (kind == 1) {
      const std::uint32_t length = std::min(1 + random.below(3), n - a);
      std::reverse(at(a), at(a + length));
      if (b >= a + length) std::rotate(at(a), at(a + length), at(b) + 1);
    } else {
      // [a, m) and [m, b] change places.
      const std::uint32_t m = a + random.below(b - a + 1);
      std::rotate(at(a), at(m), at(b) + 1);
    }
    const RingValue next = value_of(edges, changed);
    if (value < next) continue;
    value = next;
    order.swap(changed);
  }
}

std::optional<RingTour> searched_ring(const RingEdges& edges, const RingSearch& search) {
  std::vector<std::size_t> best;
  for (std::uint64_t start = 0; start < search.starts; ++start) {
    RandomStream random(search.seed, "ring tour", "start", start);
    std::vector<std::size_t> order(edges.nodes());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (start % 2 == 1) {
      order = nearest_neighbours(edges, random.below(static_cast<std::uint32_t>(edges.nodes())));
    } else if (start > 0) {
      for (std::size_t i = order.size() - 1; i > 0; --i)
        std::swap(order[i], order[random.below(static_cast<std::uint32_t>(i + 1))]);
    }
    improve_ring(edges, random, search.iterations, order);
    if (best.empty() || value_of(edges, order) < value_of(edges, best)) best = std::move(order);
  }
  if (best.empty() || value_of(edges, best).missing > 0) return std::nullopt;
  std::rotate(best.begin(), std::find(best.begin(), best.end(), std::size_t{0}), best.end());
  return tour_of(edges, std::move(best));
}

class RingBacktracking {
 public:
  RingBacktracking(const std::vector<bool>& linked, std::size_t nodes, std::uint64_t steps)
      : linked_(linked), nodes_(nodes), steps_(steps), used_(nodes) {}

  bool gave_up() const { return steps_ == 0; }
  bool extend(std::vector<std::size_t>& path) {
    if (path.size() == nodes_) return linked(path.back(), path.front());
    for (std::size_t next = 1; next < nodes_; ++next) {
      if (used_[next] || !linked(path.back(), next)) continue;
      if (steps_ == 0) return false;
      --steps_;
      used_[next] = true;
      path.push_back(next);
      if (extend(path)) return true;
      path.pop_back();
      used_[next] = false;
    }
    return false;
  }

 private:
  bool linked(std::size_t a, std::size_t b) const { return linked_[a * nodes_ + b]; }

  const std::vector<bool>& linked_;
  std::size_t nodes_;
  std::uint64_t steps_;
  std::vector<bool> used_;
};

}  // namespace

std::optional<RingTour> fastest_ring(std::span<const double> bandwidth, std::size_t nodes,
                                     const RingSearch& search) {
  if (nodes == 0 || bandwidth.size() != nodes * nodes)
    fail(ErrorKind::usage, "a ring is sought in a square matrix with at least one node");
  for (std::size_t i = 0; i < bandwidth.size(); ++i) {
    if (i / nodes != i % nodes && !(std::isfinite(bandwidth[i]) && bandwidth[i] >= 0))
      fail(ErrorKind::usage, "a bandwidth is negative or not finite",
           std::to_string(i / nodes) + " to " + std::to_string(i % nodes));
  }
  if (nodes == 1) return RingTour{{0}, 0, 0};
  const RingEdges edges(bandwidth, nodes);
  return nodes <= std::min(search.exact_nodes, most_subset_nodes) ? exact_ring(edges)
                                                                  : searched_ring(edges, search);
}

std::optional<std::vector<std::size_t>> linked_ring(const std::vector<bool>& linked, std::size_t nodes,
                                                    std::uint64_t most_steps) {
  require(nodes > 0 && linked.size() == nodes * nodes, "links are a square matrix");
  std::vector<std::size_t> path = {0};
  if (nodes == 1) return path;
  // A node with one neighbour is in no ring, which backtracking would take long to see.
  for (std::size_t node = 0; nodes > 2 && node < nodes; ++node) {
    std::size_t neighbours = 0;
    for (std::size_t other = 0; other < nodes; ++other)
      neighbours += other != node && linked[node * nodes + other];
    if (neighbours < 2) return std::nullopt;
  }
  const bool few = nodes <= most_subset_nodes;
  RingBacktracking search(linked, nodes, few ? std::min<std::uint64_t>(most_steps, 20000) : most_steps);
  if (search.extend(path)) return path;
  if (!few || !search.gave_up()) return std::nullopt;
  std::vector<double> bandwidth(linked.begin(), linked.end());
  const auto exact = exact_ring(RingEdges(bandwidth, nodes));
  if (!exact) return std::nullopt;
  return exact->order;
}

}  // namespace laconic
