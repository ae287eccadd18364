#include "engine/allocate/evolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// The linear toy of the card: keep k of n units with the least total weight.
struct Toy {
  std::vector<double> weights;
  EvolutionSpace space;
  double optimum = 0;
  int kept = 12;

  explicit Toy(std::uint64_t seed) {
    RandomStream random(seed, "test", "toy");
    for (int i = 0; i < 32; ++i) weights.push_back(random.uniform());
    space.levels.assign(32, 2);
    space.group.assign(32, 0);
    space.rule = MutationRule::swap;
    std::vector<double> sorted = weights;
    std::sort(sorted.begin(), sorted.end());
    for (int i = 0; i < kept; ++i) optimum += sorted[static_cast<std::size_t>(i)];
  }
  Assignment start(std::uint64_t seed) const {
    std::vector<int> order(32);
    for (int i = 0; i < 32; ++i) order[static_cast<std::size_t>(i)] = i;
    RandomStream random(seed, "test", "start");
    for (std::uint32_t i = 31; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
    Assignment levels(32, 0);
    for (int i = 0; i < kept; ++i) levels[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = 1;
    return levels;
  }
  double value(const Assignment& levels) const {
    double sum = 0;
    for (std::size_t i = 0; i < levels.size(); ++i) sum += levels[i] * weights[i];
    return sum;
  }
  StageFitness fitness() const {
    return [this](const std::vector<Assignment>& candidates, int, int) {
      std::vector<double> values;
      for (const Assignment& candidate : candidates) values.push_back(value(candidate));
      return values;
    };
  }
};

double mean_generations(int lambda) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Toy toy(seed);
    EvolutionState state = start_evolution(toy.start(seed));
    EvolutionOptions options;
    options.offspring = lambda;
    options.survivors = {1};
    options.seed = seed;
    while (toy.value(state.parent) > toy.optimum + 1e-9 && state.generation < 20000) {
      options.generations = state.generation + 1;
      evolve(state, toy.space, options, toy.fitness());
    }
    sum += state.generation;
  }
  return sum / 40;
}

TEST(Evolution, LinearToyReachesTheOptimumAsFastAsTheCardSays) {
  // One to three swaps a mutation: 531, 72 and 22 generations for lambda 1, 8 and 32, within 40 %.
  const double one = mean_generations(1), eight = mean_generations(8), many = mean_generations(32);
  EXPECT_NEAR(one, 531, 0.4 * 531);
  EXPECT_NEAR(eight, 72, 0.4 * 72);
  EXPECT_NEAR(many, 22, 0.4 * 22);
  EXPECT_LT(32 * many, 2 * one);
}

TEST(Evolution, EqualGroupsPreserveTheCostExactly) {
  EvolutionSpace space;
  space.levels.assign(10, 5);
  space.group = {0, 0, 0, 0, 1, 1, 1, 1, 1, 2};
  Assignment parent(10, 2);
  RandomStream random(1, "test", "mutation");
  for (int i = 0; i < 2000; ++i) {
    const Assignment child = mutate(parent, space, random);
    if (child.empty()) continue;
    for (int group = 0; group < 3; ++group) {
      int sum = 0;
      for (std::size_t u = 0; u < 10; ++u) sum += space.group[u] == group ? child[u] - 2 : 0;
      // parent drifts, but every group's sum of levels stays what it was.
      ASSERT_EQ(sum, 0);
    }
    parent = child;
  }
}

TEST(Evolution, UnequalUnitsStayUnderTheBudget) {
  EvolutionSpace space;
  space.rule = MutationRule::none;
  space.levels.assign(8, 4);
  space.group.assign(8, 0);
  for (std::uint64_t u = 0; u < 8; ++u) space.cost.push_back({10 + u, 20 + 2 * u, 30 + 3 * u, 40 + 4 * u});
  space.budget = 216;
  const Assignment parent(8, 1);
  RandomStream random(2, "test", "mutation");
  int legal = 0;
  for (int i = 0; i < 2000; ++i) {
    const Assignment child = mutate(parent, space, random);
    if (child.empty()) continue;
    ++legal;
    std::uint64_t cost = 0;
    for (std::size_t u = 0; u < 8; ++u) cost += space.cost[u][static_cast<std::size_t>(child[u])];
    ASSERT_LE(cost, space.budget);
  }
  EXPECT_GT(legal, 100);
}

TEST(Evolution, TheParentNeverGetsWorseOnAFixedMinibatch) {
  const Toy toy(3);
  EvolutionState state = start_evolution(toy.start(3));
  EvolutionOptions options;
  options.generations = 60;
  options.offspring = 16;
  options.survivors = {4, 2, 1};
  evolve(state, toy.space, options, toy.fitness());
  for (std::size_t g = 1; g < state.history.size(); ++g) EXPECT_LE(state.history[g], state.history[g - 1]);
}

TEST(Evolution, ASavedStateContinuesLikeAnUnbrokenRun) {
  const Toy toy(4);
  EvolutionOptions options;
  options.generations = 30;
  options.offspring = 8;
  options.survivors = {2, 1};
  EvolutionState whole = start_evolution(toy.start(4));
  evolve(whole, toy.space, options, toy.fitness());
  EvolutionState broken = start_evolution(toy.start(4)), saved;
  options.generations = 11;
  evolve(broken, toy.space, options, toy.fitness(), nullptr, [&](const EvolutionState& s) { saved = s; });
  EXPECT_EQ(saved.generation, 11);
  options.generations = 30;
  evolve(saved, toy.space, options, toy.fitness());
  EXPECT_EQ(saved.parent, whole.parent);
  EXPECT_EQ(saved.history, whole.history);
}

TEST(Evolution, NanCountsAsTheWorst) {
  const Toy toy(5);
  EvolutionState state = start_evolution(toy.start(5));
  const Assignment start = state.parent;
  EvolutionOptions options;
  options.generations = 3;
  options.offspring = 8;
  options.survivors = {1};
  evolve(state, toy.space, options, [&](const std::vector<Assignment>& candidates, int, int) {
    std::vector<double> values(candidates.size(), std::nan(""));
    values.back() = 1;  // the parent
    return values;
  });
  EXPECT_EQ(state.parent, start);
}

TEST(Evolution, IllegalSettingsAreRefused) {
  const Toy toy(6);
  EvolutionState state = start_evolution(toy.start(6));
  EvolutionOptions options;
  options.survivors = {4, 2};
  EXPECT_THROW(evolve(state, toy.space, options, toy.fitness()), Error);
  options.survivors = {1000, 1};
  EXPECT_THROW(evolve(state, toy.space, options, toy.fitness()), Error);
}

}  // namespace
}  // namespace laconic
