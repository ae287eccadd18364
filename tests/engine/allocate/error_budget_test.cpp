#include "engine/allocate/error_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

AllocationProblem worked_example() {
  AllocationProblem problem;
  problem.harm = {{6, 3, 1}, {4, 3, 2}, {9, 2, 1}};
  problem.cost = {{10, 20, 40}, {100, 200, 400}, {5, 10, 20}};
  return problem;
}

ErrorBudget budget_of(double harm, std::int64_t buckets, bool allowance = false) {
  ErrorBudget budget;
  budget.harm = harm;
  budget.buckets = buckets;
  budget.allowance = allowance;
  return budget;
}

TEST(ErrorBudget, WorkedExampleOfCard12) {
  const AllocationProblem problem = worked_example();
  EXPECT_EQ(problem.harm_of({1, 1, 1}), 8);
  EXPECT_EQ(problem.cost_of({1, 1, 1}), 230u);
  for (const std::int64_t buckets : {8, 16, 1000, 10000}) {
    const CheapestLevels found = allocate_within_error(problem, budget_of(8, buckets));
    EXPECT_EQ(found.cost, 140u) << buckets;
    EXPECT_EQ(found.levels, (Assignment{1, 0, 2})) << buckets;
  }
  // Rounding up makes 3 + 4 + 1 = 8 not fit.
  for (const std::int64_t buckets : {10, 100}) {
    const CheapestLevels found = allocate_within_error(problem, budget_of(8, buckets));
    EXPECT_EQ(found.cost, 150u) << buckets;
    EXPECT_EQ(found.levels, (Assignment{2, 0, 1})) << buckets;
  }
  EXPECT_EQ(allocate_within_error(problem, budget_of(8, 100, true)).cost, 140u);
}

// Least cost of all assignments within E.
std::uint64_t exhaustive_cost(const AllocationProblem& problem, double harm) {
  Assignment levels(problem.units(), 0);
  std::uint64_t best = std::numeric_limits<std::uint64_t>::max();
  for (;;) {
    if (problem.harm_of(levels) <= harm) best = std::min(best, problem.cost_of(levels));
    std::size_t u = 0;
    while (u < levels.size() && ++levels[u] == static_cast<int>(problem.cost[u].size())) levels[u++] = 0;
    if (u == levels.size()) return best;
  }
}

AllocationProblem random_table(RandomStream& random, std::size_t units, std::size_t levels) {
  AllocationProblem problem;
  for (std::size_t u = 0; u < units; ++u) {
    std::vector<double> harm;
    std::vector<std::uint64_t> cost;
    double h = 2 + random.below(40);
    std::uint64_t c = 1 + random.below(20);
    for (std::size_t j = 0; j < levels; ++j) {
      harm.push_back(h);
      cost.push_back(c);
      h = std::max(1.0, h - random.below(12));
      c += 1 + random.below(60);
    }
    problem.harm.push_back(harm);
    problem.cost.push_back(cost);
  }
  return problem;
}

TEST(ErrorBudget, EqualsExhaustiveSearchWhereErrorsAreWholeBuckets) {
  RandomStream random(1, "test", "error budget");
  for (int round = 0; round < 200; ++round) {
    const AllocationProblem problem = random_table(random, 1 + random.below(6), 2 + random.below(4));
    double harm = 0;
    for (const auto& row : problem.harm) harm += row[row.size() / 2];
    const CheapestLevels found =
        allocate_within_error(problem, budget_of(harm, static_cast<std::int64_t>(harm)));
    EXPECT_EQ(found.cost, exhaustive_cost(problem, harm));
    EXPECT_LE(found.harm, harm);
  }
}

TEST(ErrorBudget, IsNeverOverTheUniformLevelAndStaysWithinTheAllowance) {
  RandomStream random(2, "test", "error budget");
  for (int round = 0; round < 60; ++round) {
    AllocationProblem problem = random_table(random, 2 + random.below(12), 5);
    for (auto& row : problem.harm)
      for (double& harm : row) harm *= 0.5 + random.uniform();
    const Assignment uniform(problem.units(), 2);
    const double allowed = problem.harm_of(uniform);
    for (const std::int64_t buckets : {10, 100, 1000}) {
      std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
      for (const double alpha : {1.0, 1.5, 2.0, 4.0}) {
        const CheapestLevels found =
            allocate_within_error(problem, budget_of(alpha * allowed, buckets, true));
        EXPECT_TRUE(found.feasible);
        EXPECT_LE(found.cost, problem.cost_of(uniform));
        const double units = static_cast<double>(problem.units());
        EXPECT_LE(found.harm, alpha * allowed * (1 + units / static_cast<double>(buckets)) * (1 + 1e-9));
        if (buckets == 1000) {
          EXPECT_LE(found.cost, last) << "a larger budget never costs more";
        }
        last = found.cost;
      }
    }
  }
}

TEST(ErrorBudget, ScaleDoesNotMatter) {
  RandomStream random(3, "test", "error budget");
  AllocationProblem problem = random_table(random, 8, 6);
  double allowed = 0;
  for (auto& row : problem.harm) {
    for (double& harm : row) harm *= random.uniform() + 0.1;
    allowed += row[3];
  }
  const CheapestLevels found = allocate_within_error(problem, budget_of(allowed, 10000, true));
  for (auto& row : problem.harm)
    for (double& harm : row) harm *= 1.0 / 1024;
  EXPECT_EQ(allocate_within_error(problem, budget_of(allowed / 1024, 10000, true)).levels, found.levels);
}

TEST(ErrorBudget, LevelsThatAreNotAvailable) {
  AllocationProblem problem = worked_example();
  problem.harm[1][0] = std::numeric_limits<double>::quiet_NaN();
  const CheapestLevels found = allocate_within_error(problem, budget_of(8, 8));
  EXPECT_NE(found.levels[1], 0);
  // A hopeless level does not slip through however few buckets there are.
  problem = worked_example();
  for (const std::int64_t buckets : {1, 2, 8})
    EXPECT_NE(allocate_within_error(problem, budget_of(8, buckets, true)).levels[2], 0);
  // Nothing fits: the finest, and it says so.
  const CheapestLevels none = allocate_within_error(problem, budget_of(2, 1000));
  EXPECT_FALSE(none.feasible);
  EXPECT_EQ(none.levels, (Assignment{2, 2, 2}));
}

TEST(ErrorBudget, RefusesWhatMakesNoSense) {
  const AllocationProblem problem = worked_example();
  EXPECT_THROW(allocate_within_error(problem, budget_of(0, 10)), Error);
  EXPECT_THROW(allocate_within_error(problem, budget_of(-1, 10)), Error);
  EXPECT_THROW(allocate_within_error(problem, budget_of(8, 0)), Error);
  EXPECT_THROW(allocate_within_error(problem, budget_of(std::nan(""), 10)), Error);
  AllocationProblem empty = problem;
  empty.harm[0].clear();
  empty.cost[0].clear();
  EXPECT_THROW(allocate_within_error(empty, budget_of(8, 10)), Error);
}

}  // namespace
}  // namespace laconic
