#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/error.h"
#include "methods/gradients/bytescale/length_draws.h"
#include "methods/gradients/bytescale/planner.h"
#include "methods/gradients/bytescale/simulation.h"

namespace laconic::bytescale {
namespace {

SimulatedStep step_of(const std::vector<std::uint32_t>& lengths, const StepCosts& costs,
                      const PlannerOptions& options, int stages = 1) {
  const Plan plan = make_plan(lengths, costs, options);
  check_plan(plan, lengths, costs);
  return simulate_step(plan, lengths, costs, stages);
}

TEST(BytescaleSimulation, AGroupBeginsWhenItsLastRankHasCome) {
  StepCosts costs;
  costs.attention = 1e-30;
  costs.linear = 0.5;  // one second a token and pass with its backward pass
  costs.backward = 1;
  costs.activation = 1;
  costs.host_rate = costs.link_rate = 1e30;
  costs.key_value_bytes = 1;
  Plan plan;
  plan.ranks = 3;
  plan.capacity = 10;
  plan.items = {{0, 0, 4, {0}, 0, 0}, {1, 0, 6, {1}, 0, 0}, {2, 0, 20, {0, 1}, 1, 0}, {3, 0, 2, {1}, 2, 0}};
  const std::vector<std::uint32_t> lengths = {4, 6, 20, 2};
  const SimulatedStep step = simulate_step(plan, lengths, costs);
  EXPECT_NEAR(step.most, 6 + 10 + 2, 1e-9);
  EXPECT_EQ(step.least, 0);  // rank 2
  EXPECT_NEAR(step.busy, 4 + 6 + 2 * 10 + 2, 1e-9);
  EXPECT_NEAR(step.bound, 32.0 / 3, 1e-9);
  EXPECT_EQ(step.tokens, 32u);
  // Two stages of half the time each: 3 + 3, then 5 + 5 once the first stage is free, then 1 + 1.
  EXPECT_NEAR(simulate_step(plan, lengths, costs, 2).most, 3 + 5 + 5 + 1, 1e-9);
}

TEST(BytescaleSimulation, SchedulesStandInThePublishedOrder) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  for (const LengthDistribution& distribution : length_distributions()) {
    double before = 0;
    for (const std::uint32_t longest : {1u << 18, 1u << 20}) {
      const auto lengths = draw_lengths(distribution, longest, 16 << 20, 1, 0);
      PlannerOptions options;
      options.ranks = 256;
      options.longest = longest;
      options.offload = Offload::none;
      const auto seconds = [&](Schedule schedule) {
        options.schedule = schedule;
        return step_of(lengths, costs, options).seconds;
      };
      const double fixed = seconds(Schedule::static_context), naive = seconds(Schedule::naive),
                   balanced = seconds(Schedule::balanced_data);
      EXPECT_GT(fixed, naive);
      EXPECT_GT(naive, balanced);
      EXPECT_GT(fixed / balanced, before);  // longer contexts gain more
      before = fixed / balanced;
    }
  }
}

TEST(BytescaleSimulation, BalancedRanksEndTogetherNearTheBound) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  for (const LengthDistribution& distribution : length_distributions()) {
    const auto lengths = draw_lengths(distribution, 1 << 20, 32 << 20, 1, 0);
    PlannerOptions options;
    options.ranks = 256;
    const SimulatedStep step = step_of(lengths, costs, options);
    EXPECT_LE(step.balance(), 1.05) << distribution.name;
    EXPECT_LE(step.seconds, 1.1 * step.bound) << distribution.name;
    EXPECT_GE(step.seconds, step.bound * (1 - 1e-9));
  }
}

TEST(BytescaleSimulation, OffloadingWithinTheHorizonNeverMakesABalancedStepSlower) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  for (const std::uint32_t ranks : {128u, 512u}) {
    const auto lengths = draw_lengths(length_distribution("long-text"), 1 << 20, 16 << 20, 2, 0);
    PlannerOptions options;
    options.ranks = ranks;
    const double with = step_of(lengths, costs, options).seconds;
    options.offload = Offload::none;
    EXPECT_LE(with, 1.02 * step_of(lengths, costs, options).seconds);
  }
}

TEST(BytescaleSimulation, RunsTwelveThousandRanks) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  const auto lengths =
      draw_lengths(length_distribution("github-like"), 1 << 21, std::uint64_t{200} << 20, 1, 0);
  PlannerOptions options;
  options.ranks = 12000;
  const SimulatedStep step = step_of(lengths, costs, options);
  EXPECT_LE(step.seconds, 1.1 * step.bound);
  EXPECT_GT(step.plan_bytes, 12000u * 2);
}

TEST(BytescaleLengths, MeetThePublishedShares) {
  for (const LengthDistribution& distribution : length_distributions()) {
    double share = 0;
    for (std::uint64_t step = 0; step < 8; ++step) {
      const auto lengths = draw_lengths(distribution, 1 << 21, 32 << 20, 3, step);
      share += token_share_beyond(lengths, distribution.beyond) / 8;
      double tokens = 0;
      for (const std::uint32_t length : lengths) tokens += length;
      EXPECT_NEAR(tokens / (32 << 20), 1, 0.05);
      EXPECT_LE(*std::max_element(lengths.begin(), lengths.end()), 1u << 21);
    }
    EXPECT_NEAR(share, distribution.share, 0.02) << distribution.name;
  }
  const auto& one = length_distribution("github-like");
  EXPECT_EQ(draw_lengths(one, 1 << 18, 1 << 20, 1, 0), draw_lengths(one, 1 << 18, 1 << 20, 1, 0));
  EXPECT_NE(draw_lengths(one, 1 << 18, 1 << 20, 1, 0), draw_lengths(one, 1 << 18, 1 << 20, 2, 0));
  EXPECT_THROW(length_distribution("nothing"), Error);
}

}  // namespace
}  // namespace laconic::bytescale
