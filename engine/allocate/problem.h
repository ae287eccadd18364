// Splitting one byte budget over many parts: every unit (a linear layer, a sub-block) gets one of its levels
// (a bit width, a sparsity, kept or dropped). A budget is a cap: never over; when nothing fits, the error
// names the minimum.
#pragma once

#include <cstdint>
#include <vector>

namespace laconic {

using Assignment = std::vector<int>;  // level per unit

struct AllocationProblem {
  std::vector<std::vector<std::uint64_t>> cost;  // [unit][level], exact bytes
  std::vector<std::vector<double>> harm;  // [unit][level], additive; NaN or infinity: level not available
  std::uint64_t budget = 0;

  std::size_t units() const { return cost.size(); }
  std::uint64_t cost_of(const Assignment& levels) const;
  double harm_of(const Assignment& levels) const;
  std::uint64_t minimum_cost() const;  // over available levels
  // Refuses ragged tables, units without an available level (Error(usage)) and a budget below the minimum.
  void validate() const;
};

struct Allocation {
  Assignment levels;
  std::uint64_t cost = 0;
  double harm = 0;
  double lower_bound = 0;  // of the harm of any feasible assignment; Lagrangian only, else -infinity
};

// Knapsack by dynamic programming over cost in steps: exact when the greatest common divisor of all cost
// differences leaves at most `steps` steps under the budget, else costs are rounded up to budget / steps and
// what rounding left unused is filled greedily.
Allocation allocate_dynamic(const AllocationProblem& problem, std::int64_t steps = 65536);

// Everett's Lagrangian: levels that minimise harm + lambda cost, lambda by bisection, the rest of the budget
// filled greedily. lower_bound is the best dual value.
Allocation allocate_lagrangian(const AllocationProblem& problem);

// From the cheapest levels, always the step with the greatest drop of harm per byte that still fits.
Allocation allocate_greedy(const AllocationProblem& problem);

}  // namespace laconic
