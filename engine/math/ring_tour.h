// Rings through all nodes of a directed graph: the order in which peers pass data on.
//
// A ring collective over n nodes takes 2 (n - 1) / n * bytes / (slowest edge), so the bandwidth of the
// slowest edge is maximised first, and the sum of 1 / bandwidth minimised second. The sum alone, the
// objective of the asymmetric travelling salesman, may prefer a ring with a slower edge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace laconic {

struct RingTour {
  std::vector<std::size_t> order;  // begins with node 0; the last passes on to the first
  double bottleneck = 0;           // bandwidth of the slowest edge
  double cost = 0;                 // sum of 1 / bandwidth
};

struct RingSearch {
  std::size_t exact_nodes = 12;      // up to here (at most 16) by dynamic programming over subsets
  std::uint64_t iterations = 50000;  // moves tried from each start beyond
  std::uint64_t starts = 6;
  std::uint64_t seed = 1;
};

// `bandwidth[from * nodes + to]`, row-major; 0: no edge; the diagonal is not looked at. None where no ring
// was found, which up to exact_nodes means that there is none. Repeats exactly for the same input.
// Error(usage) on a wrong size, and on negative or non-finite numbers.
std::optional<RingTour> fastest_ring(std::span<const double> bandwidth, std::size_t nodes,
                                     const RingSearch& search = {});

// The first ring, in the order of backtracking, all of whose neighbours are linked; `linked` is row-major and
// symmetric. The order of the nodes themselves where that is one. None where there is none, or, beyond 16
// nodes, where `most_steps` did not find it.
std::optional<std::vector<std::size_t>> linked_ring(const std::vector<bool>& linked, std::size_t nodes,
                                                    std::uint64_t most_steps = 1'000'000);

}  // namespace laconic
