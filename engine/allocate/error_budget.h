// The other way round than problem.h: the least bytes whose total harm stays under a budget, as L-GreCo
// (Alimohammadi et al., MLSys 2024, arXiv 2210.17357; card 12) chooses the compression level of every layer.
//
//   minimise sum_u cost[u][level_u]   subject to   sum_u harm[u][level_u] <= E
//
// Knapsack by dynamic programming over the harm used, in D buckets of E / D: q = max(1, ceil(harm D / E)).
// Rounding up may cost each of the L units a bucket, so D + L buckets may be spent: assignments that are
// within E always fit, and what is found has a harm of at most E (1 + L / D).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/allocate/problem.h"

namespace laconic {

struct ErrorBudget {
  double harm = 0;               // E, over 0
  std::int64_t buckets = 10000;  // D
  bool allowance = true;         // L more buckets
};

struct CheapestLevels {
  Assignment levels;
  std::uint64_t cost = 0;
  double harm = 0;
  // False: nothing fits; levels are then those of the least harm.
  bool feasible = true;
};

// `problem.budget` is not used. A level whose harm is not finite, or over E by itself, is not available.
// Among the cheapest assignments one of least rounded harm; ties within a unit: less harm, then the lower
// level. Throws Error(usage) on an empty or ragged table, a unit without a finite harm, E <= 0 and D < 1.
CheapestLevels allocate_within_error(const AllocationProblem& problem, const ErrorBudget& budget);

}  // namespace laconic
