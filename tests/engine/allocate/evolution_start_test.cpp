#include "engine/allocate/evolution_start.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

EvolutionSpace bits_space() {
  EvolutionSpace space;
  for (std::uint64_t u = 0; u < 12; ++u) {
    space.levels.push_back(5);
    space.group.push_back(0);
    std::vector<std::uint64_t> cost;
    for (std::uint64_t bits = 2; bits <= 6; ++bits) cost.push_back(bits * (100 + 10 * u));
    space.cost.push_back(cost);
  }
  return space;
}

std::uint64_t cost_of(const EvolutionSpace& space, const Assignment& levels) {
  std::uint64_t sum = 0;
  for (std::size_t u = 0; u < levels.size(); ++u) sum += space.cost[u][static_cast<std::size_t>(levels[u])];
  return sum;
}

TEST(EvolutionStart, LoweredStartsFitAndStopAtTheFirstFit) {
  EvolutionSpace space = bits_space();
  const Assignment three_bits(12, 1);
  space.budget = cost_of(space, three_bits) - cost_of(space, Assignment(12, 0)) / 4;  // 2.5 bits
  const auto starts = lowered_starts(space, three_bits, 16, 7);
  ASSERT_EQ(starts.size(), 16u);
  EXPECT_GT(std::set<Assignment>(starts.begin(), starts.end()).size(), 10u);
  for (const Assignment& start : starts) {
    EXPECT_LE(cost_of(space, start), space.budget);
    EXPECT_GT(cost_of(space, start) + 210, space.budget);  // one layer of one bit is at most 210
  }
  EXPECT_EQ(lowered_starts(space, three_bits, 16, 7), starts);
  EXPECT_NE(lowered_starts(space, three_bits, 16, 8), starts);
}

TEST(EvolutionStart, AnImpossibleTargetNamesTheSmallest) {
  EvolutionSpace space = bits_space();
  const std::uint64_t least = cost_of(space, Assignment(12, 0));
  space.budget = least - 1;
  try {
    lowered_starts(space, Assignment(12, 1), 1, 0);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(std::to_string(least)), std::string::npos);
  }
  space.budget = least;
  EXPECT_EQ(lowered_starts(space, Assignment(12, 1), 1, 0).front(), Assignment(12, 0));
}

TEST(EvolutionStart, RandomDropsDropWhatIsAsked) {
  std::vector<int> group;
  for (int i = 0; i < 12; ++i) group.push_back(i % 2);
  const auto states = random_drops(group, {1, 3}, 64, 3);
  ASSERT_EQ(states.size(), 64u);
  for (const Assignment& state : states) {
    int dropped[2] = {0, 0};
    for (std::size_t u = 0; u < 12; ++u) dropped[group[u]] += state[u] == 0;
    EXPECT_EQ(dropped[0], 1);
    EXPECT_EQ(dropped[1], 3);
  }
  EXPECT_GT(std::set<Assignment>(states.begin(), states.end()).size(), 32u);  // of 6 * 20
  EXPECT_THROW(random_drops(group, {7, 0}, 1, 3), Error);
  EXPECT_THROW(random_drops(group, {-1, 0}, 1, 3), Error);
}

TEST(EvolutionStart, TheBestStartIgnoresNan) {
  const std::vector<Assignment> candidates = {{0}, {1}, {2}, {3}};
  const auto with = [&](std::vector<double> values) {
    return best_start(candidates, [&](const std::vector<Assignment>&) { return values; }).front();
  };
  EXPECT_EQ(with({NAN, 2, 1, 1}), 2);
  EXPECT_EQ(with({3, NAN, NAN, 3}), 0);
  EXPECT_EQ(with({NAN, NAN, NAN, NAN}), 0);
}

TEST(EvolutionStart, MinibatchesHaveExactlyTheirTokens) {
  const std::vector<std::int64_t> lengths = {128, 128, 57, 128, 0, 128, 3};
  const std::int64_t all = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  for (const std::int64_t tokens : {std::int64_t{1}, std::int64_t{128}, std::int64_t{300}, all}) {
    const auto parts = draw_minibatch(lengths, tokens, 1, 4, 2);
    std::int64_t sum = 0;
    std::set<std::size_t> sequences;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      sum += parts[i].tokens;
      EXPECT_TRUE(sequences.insert(parts[i].sequence).second);
      if (i + 1 < parts.size()) {
        EXPECT_EQ(parts[i].tokens, lengths[parts[i].sequence]);
      }
    }
    EXPECT_EQ(sum, tokens);
    EXPECT_EQ(parts, draw_minibatch(lengths, tokens, 1, 4, 2));
  }
  EXPECT_NE(draw_minibatch(lengths, 300, 1, 4, 2), draw_minibatch(lengths, 300, 1, 5, 2));
  EXPECT_NE(draw_minibatch(lengths, 300, 1, 4, 2), draw_minibatch(lengths, 300, 1, 4, 1));
  EXPECT_THROW(draw_minibatch(lengths, all + 1, 1, 0, 0), Error);
}

}  // namespace
}  // namespace laconic
