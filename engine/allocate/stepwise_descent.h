// Greedy descent with fresh measurements: all units start at their highest level; in every round the harm of
// lowering each unit alone by one level is measured against the assignment as it stands, and the least
// harmful are lowered, until the cost fits (Algorithm 1 of MatryoshkaKV, Lin et al. 2024, arXiv 2410.14731).
// Where harms add up and are convex in every unit with equal costs per step, the result is optimal.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/allocate/problem.h"

namespace laconic {

struct DescentSpace {
  std::vector<std::vector<std::uint64_t>> cost;  // [unit][level], growing with the level
  std::uint64_t budget = 0;
  double share = 0.05;  // of the units are lowered in a round; at least one is
};

// Harm of `levels` with each of `units` alone one level lower; lower is better, NaN counts as infinity.
using LoweredHarm =
    std::function<std::vector<double>(const Assignment& levels, std::span<const std::size_t> units)>;

// Units in the order in which they were lowered. Every prefix is a descent of its own: one run to the
// smallest budget serves all larger ones.
struct Descent {
  Assignment levels;
  std::vector<std::size_t> lowered;
  std::vector<double> harm;  // that the round measured for each of them
};

// `after_round` may be null; it hears of the assignment and of the steps so far. Throws Error(usage) on
// ragged or falling costs and on a budget below the cost of the lowest levels, naming it. Ties: lower index.
Descent descend(const DescentSpace& space, const LoweredHarm& harm,
                const std::function<void(const Descent&)>& after_round = {});
// The assignment after the fewest steps of `lowered` whose cost fits. Throws Error(usage) when all of them
// are not enough, naming the least cost there is.
Assignment replay_descent(const DescentSpace& space, std::span<const std::size_t> lowered);

}  // namespace laconic
