#include "engine/allocate/stepwise_descent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

// Separable convex harms: gains of a level shrink as levels grow.
std::vector<std::vector<double>> convex_harms(std::size_t units, std::size_t levels, std::uint64_t seed) {
  RandomStream random(seed, "test", "convex harms");
  std::vector<std::vector<double>> table;
  for (std::size_t unit = 0; unit < units; ++unit) {
    std::vector<double> steps;
    for (std::size_t level = 1; level < levels; ++level)
      steps.push_back(static_cast<double>(random.uniform()));
    std::sort(steps.begin(), steps.end());
    std::vector<double> harm(levels);
    for (std::size_t level = levels - 1; level-- > 0;)
      harm[level] = harm[level + 1] + steps[levels - 2 - level];
    table.push_back(harm);
  }
  return table;
}

LoweredHarm from_table(const std::vector<std::vector<double>>& table) {
  return [&table](const Assignment& levels, std::span<const std::size_t> units) {
    double sum = 0;
    for (std::size_t unit = 0; unit < table.size(); ++unit)
      sum += table[unit][static_cast<std::size_t>(levels[unit])];
    std::vector<double> harms;
    for (const std::size_t unit : units) {
      const auto level = static_cast<std::size_t>(levels[unit]);
      harms.push_back(sum + table[unit][level - 1] - table[unit][level]);
    }
    return harms;
  };
}

// Card 62: 2 layers x 2 heads, four levels; keys and values as one unit each would be 4^8 assignments.
TEST(StepwiseDescent, IsOptimalForSeparableConvexHarms) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto table = convex_harms(4, 4, seed);
    for (std::uint64_t budget = 4; budget <= 16; ++budget) {
      const DescentSpace space{{4, {1, 2, 3, 4}}, budget, 0.05};
      const Descent found = descend(space, from_table(table));
      double best = std::numeric_limits<double>::infinity(), own = 0;
      for (std::size_t unit = 0; unit < 4; ++unit)
        own += table[unit][static_cast<std::size_t>(found.levels[unit])];
      for (int code = 0; code < 256; ++code) {
        double harm = 0;
        std::uint64_t cost = 0;
        for (std::size_t unit = 0; unit < 4; ++unit) {
          const auto level = static_cast<std::size_t>(code >> (2 * unit) & 3);
          harm += table[unit][level];
          cost += space.cost[unit][level];
        }
        if (cost <= budget) best = std::min(best, harm);
      }
      EXPECT_NEAR(own, best, 1e-12) << "seed " << seed << " budget " << budget;
    }
  }
}

TEST(StepwiseDescent, OneRunServesEveryLargerBudget) {
  const auto table = convex_harms(6, 5, 9);
  DescentSpace space{{6, {2, 4, 6, 8, 10}}, 12, 0.05};
  const Descent whole = descend(space, from_table(table));
  for (std::uint64_t budget = 12; budget <= 60; budget += 6) {
    space.budget = budget;
    EXPECT_EQ(replay_descent(space, whole.lowered), descend(space, from_table(table)).levels) << budget;
  }
}

TEST(StepwiseDescent, LowersAShareOfTheUnitsInARoundAndStopsAtTheBudget) {
  const auto table = convex_harms(40, 3, 4);
  int rounds = 0;
  const DescentSpace space{{40, {1, 2, 3}}, 115, 0.05};
  const Descent descent = descend(space, from_table(table), [&](const Descent&) { ++rounds; });
  EXPECT_EQ(descent.lowered.size(), 5u);  // 120 - 5
  EXPECT_EQ(rounds, 3);                   // 2 + 2 + 1
}

TEST(StepwiseDescent, HarmsThatAreNoNumbersComeLast) {
  const DescentSpace space{{3, {0, 1}}, 1, 0.05};
  const Descent descent = descend(space, [](const Assignment&, std::span<const std::size_t> units) {
    std::vector<double> harms;
    for (const std::size_t unit : units)
      harms.push_back(unit == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0);
    return harms;
  });
  EXPECT_EQ(descent.levels, (Assignment{1, 0, 0}));
}

TEST(StepwiseDescent, NamesTheSmallestBudget) {
  const DescentSpace space{{2, {3, 4}}, 5, 0.05};
  try {
    descend(space, {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("6"), std::string::npos) << error.what();
  }
  const std::vector<std::size_t> steps = {0};
  EXPECT_THROW(replay_descent(space, steps), Error);
  const std::vector<std::size_t> wrong = {0, 0};
  EXPECT_THROW(replay_descent(space, wrong), Error);
}

}  // namespace
}  // namespace laconic
