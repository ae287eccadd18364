#include "engine/allocate/problem.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

AllocationProblem random_problem(std::uint64_t seed, int units, int levels) {
  RandomStream random(seed, "test", "allocation");
  AllocationProblem problem;
  for (int u = 0; u < units; ++u) {
    std::vector<std::uint64_t> cost;
    std::vector<double> harm;
    const std::uint64_t size = 10 + random.below(90);
    double h = 4 * random.uniform();
    for (int l = 0; l < levels; ++l) {
      cost.push_back(size * static_cast<std::uint64_t>(l + 2));
      harm.push_back(h);
      h *= random.uniform();
    }
    problem.cost.push_back(cost);
    problem.harm.push_back(harm);
  }
  problem.budget = problem.minimum_cost() + random.below(600);
  return problem;
}

double exhaustive(const AllocationProblem& problem) {
  Assignment levels(problem.units(), 0);
  double best = std::numeric_limits<double>::infinity();
  for (;;) {
    if (problem.cost_of(levels) <= problem.budget) best = std::min(best, problem.harm_of(levels));
    std::size_t u = 0;
    while (u < levels.size() && ++levels[u] == static_cast<int>(problem.cost[u].size())) levels[u++] = 0;
    if (u == levels.size()) return best;
  }
}

TEST(Allocation, DynamicProgrammingEqualsExhaustiveSearchOnFiveLayersOfFourLevels) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const AllocationProblem problem = random_problem(seed, 5, 4);
    const Allocation found = allocate_dynamic(problem);
    EXPECT_LE(found.cost, problem.budget);
    EXPECT_NEAR(found.harm, exhaustive(problem), 1e-12);
  }
}

TEST(Allocation, CoarseStepsStayUnderTheBudget) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const AllocationProblem problem = random_problem(seed, 12, 5);
    EXPECT_LE(allocate_dynamic(problem, 37).cost, problem.budget);
  }
}

TEST(Allocation, LagrangianBoundsTheOptimumFromBelow) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const AllocationProblem problem = random_problem(seed, 6, 4);
    const double best = exhaustive(problem);
    const Allocation found = allocate_lagrangian(problem);
    EXPECT_LE(found.cost, problem.budget);
    EXPECT_GE(found.harm, best - 1e-12);
    EXPECT_LE(found.lower_bound, best + 1e-9);
  }
}

TEST(Allocation, GreedyTakesEverythingThatFits) {
  AllocationProblem problem{{{1, 2}, {1, 3}}, {{5, 1}, {5, 2}}, 5};
  EXPECT_EQ(allocate_greedy(problem).levels, (Assignment{1, 1}));
  problem.budget = 4;
  EXPECT_EQ(allocate_greedy(problem).levels, (Assignment{1, 0}));
}

TEST(Allocation, AnImpossibleBudgetNamesTheSmallest) {
  const AllocationProblem problem{{{10, 20}}, {{1, 0}}, 9};
  try {
    allocate_dynamic(problem);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("10 bytes"), std::string::npos);
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

TEST(Allocation, MissingLevelsAreNeverChosen) {
  const AllocationProblem problem{{{1, 2, 3}}, {{9, std::nan(""), 1}}, 2};
  for (const auto& solve : {allocate_greedy, allocate_lagrangian})
    EXPECT_EQ(solve(problem).levels, (Assignment{0}));
  EXPECT_EQ(allocate_dynamic(problem).levels, (Assignment{0}));
}

}  // namespace
}  // namespace laconic
