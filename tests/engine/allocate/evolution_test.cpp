#include "engine/allocate/evolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"

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

double mean_generations(int lambda, int max_flips) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Toy toy(seed);
    toy.space.max_flips = max_flips;
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

struct ToyFigure {
  int max_flips, lambda;
  double generations;  // of the card
};

class LinearToy : public testing::TestWithParam<ToyFigure> {};

TEST_P(LinearToy, NeedsAsManyGenerationsAsTheCardSays) {
  const auto [max_flips, lambda, expected] = GetParam();
  EXPECT_NEAR(mean_generations(lambda, max_flips), expected, 0.4 * expected);
}

INSTANTIATE_TEST_SUITE_P(Evolution, LinearToy,
                         testing::Values(ToyFigure{1, 1, 332}, ToyFigure{1, 8, 56}, ToyFigure{1, 32, 15.5},
                                         ToyFigure{3, 1, 531}, ToyFigure{3, 8, 72}, ToyFigure{3, 32, 22}));

TEST(Evolution, ManyOffspringCostLessThanTwiceTheEvaluationsOfOne) {
  EXPECT_LT(32 * mean_generations(32, 1), 2 * mean_generations(1, 1));
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

// Units of one group may differ by the bytes of their side information.
TEST(Evolution, EqualGroupsWithCostsNeverPassTheBudget) {
  EvolutionSpace space;
  for (std::uint64_t u = 0; u < 10; ++u) {
    space.levels.push_back(5);
    space.group.push_back(0);
    space.cost.emplace_back();
    for (std::uint64_t level = 0; level < 5; ++level)
      space.cost.back().push_back(100 * level + (u * level) % 7);
  }
  const auto cost = [&](const Assignment& levels) {
    std::uint64_t sum = 0;
    for (std::size_t u = 0; u < 10; ++u) sum += space.cost[u][static_cast<std::size_t>(levels[u])];
    return sum;
  };
  Assignment parent(10, 2);
  space.budget = cost(parent) + 2;
  RandomStream random(4, "test", "mutation");
  int refused = 0, moved = 0;
  for (int i = 0; i < 2000; ++i) {
    const Assignment child = mutate(parent, space, random);
    if (child.empty()) {
      ++refused;
      continue;
    }
    ASSERT_LE(cost(child), space.budget);
    moved += child != parent ? 1 : 0;
    parent = child;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(moved, 100);
  EvolutionOptions options;
  options.survivors = {1};
  options.offspring = 4;
  space.budget = cost(parent) - 1;
  EvolutionState state = start_evolution(parent);
  EXPECT_THROW(evolve(state, space, options,
                      [](const std::vector<Assignment>& all, int, int) {
                        return std::vector<double>(all.size(), 0.0);
                      }),
               Error);
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

// A fitness with work for many threads must not change what is found.
TEST(Evolution, TheResultDoesNotDependOnTheNumberOfThreads) {
  const Toy toy(8);
  EvolutionOptions options;
  options.generations = 25;
  options.offspring = 12;
  options.survivors = {4, 1};
  options.seed = 5;
  std::vector<EvolutionState> results;
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    EvolutionState state = start_evolution(toy.start(8));
    evolve(state, toy.space, options,
           [&](const std::vector<Assignment>& candidates, int stage, int generation) {
             std::vector<double> values(candidates.size());
             parallel_for(static_cast<std::int64_t>(candidates.size()), [&](std::int64_t i) {
               // Noise of the minibatch: the same for a stage whoever computes it.
               RandomStream noise(1, "noise", std::to_string(stage), static_cast<std::uint64_t>(generation));
               double sum = 0;
               for (std::size_t u = 0; u < toy.weights.size(); ++u) {
                 sum += candidates[static_cast<std::size_t>(i)][u] * (toy.weights[u] + 0.2 * noise.uniform());
               }
               values[static_cast<std::size_t>(i)] = sum;
             });
             return values;
           });
    results.push_back(state);
  }
  set_thread_count(0);
  for (const EvolutionState& state : results) {
    EXPECT_EQ(state.parent, results[0].parent);
    EXPECT_EQ(state.history, results[0].history);
  }
}

TEST(Evolution, TheArchiveKeepsTheBestByTheCommonSet) {
  const Toy toy(9);
  EvolutionOptions options;
  options.generations = 40;
  options.offspring = 4;
  options.survivors = {1};
  double least = 1e300;
  const CommonFitness common = [&](const Assignment& levels) {
    least = std::min(least, toy.value(levels));
    return toy.value(levels);
  };
  EvolutionState state = start_evolution(toy.start(9), common);
  evolve(
      state, toy.space, options,
      [&](const std::vector<Assignment>& candidates, int, int generation) {
        RandomStream noise(2, "noise", "fitness", static_cast<std::uint64_t>(generation));
        std::vector<double> values;
        for (const Assignment& candidate : candidates)
          values.push_back(toy.value(candidate) + 3 * noise.uniform());
        return values;
      },
      common);
  EXPECT_EQ(state.best_fitness, least);
  EXPECT_EQ(toy.value(state.best), least);
  EXPECT_LE(least, toy.value(state.parent));
}

TEST(Evolution, AStateIsSavedAndReadBackWhole) {
  EvolutionState state;
  state.parent = {0, 3, 1};
  state.best = {1, 2, 1};
  state.generation = 77;
  state.best_fitness = 0.1;
  state.history = {1e300, 0.25, std::numeric_limits<double>::infinity()};
  const Bytes bytes = save_evolution(state);
  const EvolutionState read = load_evolution(bytes, "state");
  EXPECT_EQ(read.parent, state.parent);
  EXPECT_EQ(read.best, state.best);
  EXPECT_EQ(read.generation, state.generation);
  EXPECT_EQ(read.best_fitness, state.best_fitness);
  EXPECT_EQ(read.history, state.history);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_THROW(load_evolution(ByteSpan(bytes).first(i), "cut"), Error);
    for (int bit = 0; bit < 8; ++bit) {
      Bytes flipped = bytes;
      flipped[i] ^= static_cast<std::byte>(1 << bit);
      EXPECT_THROW(load_evolution(flipped, "flipped"), Error);
    }
  }
}

TEST(Evolution, OffspringDifferFromTheParentAndFromEachOther) {
  const Toy toy(10);
  EvolutionState state = start_evolution(toy.start(10));
  EvolutionOptions options;
  options.generations = 10;
  options.offspring = 64;
  options.survivors = {8, 1};
  evolve(state, toy.space, options, [&](const std::vector<Assignment>& candidates, int stage, int) {
    if (stage == 0) {
      std::vector<Assignment> sorted = candidates;
      std::sort(sorted.begin(), sorted.end());
      EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
      EXPECT_EQ(candidates.size(), 64u);
      EXPECT_EQ(std::count(candidates.begin(), candidates.end(), state.parent), 0);
    } else {
      EXPECT_EQ(std::count(candidates.begin(), candidates.end(), state.parent), 1);
    }
    std::vector<double> values;
    for (const Assignment& candidate : candidates) values.push_back(toy.value(candidate));
    return values;
  });
}

TEST(Evolution, WithoutAnyLegalMoveTheParentStays) {
  EvolutionSpace space;
  space.levels.assign(4, 1);
  space.group.assign(4, 0);
  EvolutionState state = start_evolution(Assignment(4, 0));
  EvolutionOptions options;
  options.survivors = {1};
  options.offspring = 4;
  evolve(state, space, options, [](const std::vector<Assignment>& candidates, int, int) {
    return std::vector<double>(candidates.size(), 0.0);
  });
  EXPECT_EQ(state.parent, Assignment(4, 0));
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
