#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/gradients/bytescale/length_draws.h"
#include "methods/gradients/bytescale/planner.h"
#include "methods/gradients/bytescale/simulation.h"

namespace laconic::bytescale {
namespace {

// The worked example of the card.
StepCosts card_costs() {
  StepCosts costs;
  costs.layers = 8;
  costs.activation = 4096;
  costs.attention = 1.6e-12;
  costs.linear = 8e-8;
  costs.host_rate = 20e9;
  costs.key_value_bytes = 1024;
  costs.link_rate = 25e9;
  return costs;
}

std::vector<std::uint32_t> mixed_lengths(std::uint32_t longest, std::uint64_t tokens, std::uint64_t seed) {
  return draw_lengths(length_distribution("long-text"), longest, tokens, seed, 0);
}

PlannerOptions options_of(std::uint32_t ranks, std::uint32_t capacity, Schedule schedule,
                          Offload offload = Offload::within_horizon) {
  PlannerOptions options;
  options.ranks = ranks;
  options.capacity = capacity;
  options.schedule = schedule;
  options.offload = offload;
  return options;
}

TEST(BytescalePlacement, IsTheCardsWorkedExample) {
  const StepCosts costs = card_costs();
  const Placement middle = place(costs, 8192, 65536);
  EXPECT_NEAR(middle.most_ratio, 0.903, 5e-4);
  EXPECT_EQ(middle.ranks, 3u);
  EXPECT_NEAR(middle.ratio, 0.8333, 5e-5);
  EXPECT_EQ(place(costs, 8192, 65536, false).ranks, 8u);

  const Placement longest = place(costs, 8192, 262144);
  EXPECT_EQ(longest.most_ratio, 1);
  EXPECT_EQ(longest.ranks, 8u);
  EXPECT_EQ(place(costs, 8192, 262144, false).ranks, 32u);

  const Placement shorter = place(costs, 8192, 16384);
  EXPECT_NEAR(shorter.most_ratio, 0.519, 5e-4);
  EXPECT_EQ(shorter.ratio, 0);
  EXPECT_EQ(shorter.ranks, 2u);
}

TEST(BytescalePlacement, HoldsItsSequenceAndHidesItsCopies) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  const auto layers = static_cast<double>(costs.layers);
  for (std::uint32_t tokens = 8192; tokens <= 1u << 21; tokens += 7919) {
    for (const bool offload : {false, true}) {
      const Placement p = place(costs, 8192, tokens, offload);
      const double held = costs.activation_bytes(tokens);
      EXPECT_LE((2 + (1 - p.ratio) * (layers - 2)) * held,
                p.ranks * layers * costs.activation_bytes(8192) * (1 + 1e-9));
      EXPECT_LE(p.ratio * held / costs.host_rate, costs.forward_seconds(tokens) * (1 + 1e-9));
      EXPECT_LE(p.ranks, (tokens - 1) / 8192 + 1);
      if (p.ratio > 0) {
        // Nothing is copied in vain: with less, another rank would be needed.
        const Placement fewer = place_on(costs, 8192, tokens, p.ranks);
        EXPECT_NEAR(fewer.ratio, p.ratio, 1e-12);
      }
    }
  }
}

TEST(BytescalePlacement, ModelsOfTwoLayersOffloadNothing) {
  StepCosts costs = card_costs();
  costs.layers = 2;
  EXPECT_EQ(place(costs, 8192, 262144).ranks, 32u);
  EXPECT_EQ(place(costs, 8192, 262144).ratio, 0);
}

TEST(BytescaleCosts, RingsTakeTheLongerOfComputingAndLinks) {
  StepCosts costs = card_costs();
  const std::uint32_t one[] = {65536};
  const WorkSeconds alone = work_seconds(costs, one, 1), eight = work_seconds(costs, one, 8);
  EXPECT_EQ(alone.compute, alone.total);
  EXPECT_NEAR(eight.compute, alone.compute / 8, 1e-12);
  EXPECT_GT(eight.total, eight.compute);  // the last hop of dK, dV hides behind nothing
  costs.link_rate = 1e6;
  // Seven blocks forward, seven of twice the size and one more backward.
  const double block = 8192 * 1024 / 1e6;
  EXPECT_NEAR(work_seconds(costs, one, 8).total, 8 * (7 + 14 + 1) * block, 0.01 * 8 * 22 * block);
  EXPECT_EQ(sent_bytes(costs, 65536, 8), 8.0 * 22 * 8192 * 1024);
  EXPECT_EQ(sent_bytes(costs, 65536, 1), 0);
}

TEST(BytescaleCosts, AreFittedFromMeasuredLayers) {
  const StepCosts truth = [] {
    StepCosts costs = card_costs();
    costs.fixed = 3e-5;
    return costs;
  }();
  std::vector<MeasuredLayer> measured;
  for (const double s : {64.0, 512.0, 4096.0, 65536.0}) measured.push_back({s, truth.forward_seconds(s)});
  StepCosts fitted = card_costs();
  fit_forward(measured, fitted);
  EXPECT_NEAR(fitted.attention / truth.attention, 1, 1e-6);
  EXPECT_NEAR(fitted.linear / truth.linear, 1, 1e-6);
  EXPECT_NEAR(fitted.fixed / truth.fixed, 1, 1e-6);
  EXPECT_THROW(fit_forward({measured.data(), 2}, fitted), Error);
}

TEST(BytescaleCosts, RefusesCoefficientsThatMakeNoSense) {
  for (double StepCosts::*field : {&StepCosts::attention, &StepCosts::linear, &StepCosts::activation,
                                   &StepCosts::host_rate, &StepCosts::link_rate}) {
    for (const double bad : {0.0, -1.0, std::nan("")}) {
      StepCosts costs = card_costs();
      costs.*field = bad;
      EXPECT_THROW(validate(costs), Error);
    }
  }
}

TEST(BytescalePlanner, EveryTokenOnceInDisjointGroupsWithinCapacity) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  for (const std::uint64_t seed : {1, 2, 3}) {
    const auto lengths = mixed_lengths(1 << 18, 4 << 20, seed);
    for (const Schedule schedule : schedules) {
      for (const Offload offload : {Offload::none, Offload::fewest_ranks, Offload::within_horizon}) {
        PlannerOptions options = options_of(64, 8192, schedule, offload);
        const Plan plan = make_plan(lengths, costs, options);
        EXPECT_NO_THROW(check_plan(plan, lengths, costs)) << name_of(schedule);
        EXPECT_EQ(make_plan(lengths, costs, options), plan);
      }
    }
  }
}

TEST(BytescalePlanner, GroupsAreOfAnySize) {
  // 768K tokens at 8K use 96 ranks while the other 32 take packs.
  std::vector<std::uint32_t> lengths(64, 4000);
  lengths.push_back(768 << 10);
  const Plan plan = make_plan(lengths, costs_of(published_model("llama-7b")),
                              options_of(128, 8192, Schedule::balanced_data, Offload::none));
  const auto longest = std::find_if(plan.items.begin(), plan.items.end(),
                                    [](const PlanItem& item) { return item.sequence == 64; });
  ASSERT_NE(longest, plan.items.end());
  EXPECT_EQ(longest->ranks.size(), 96u);
  for (const PlanItem& item : plan.items) {
    if (item.sequence != 64) {
      EXPECT_EQ(item.ranks.size(), 1u);
      EXPECT_GE(item.ranks.front(), 96);
    }
  }
}

TEST(BytescalePlanner, TheStaticMeshHoldsTheLongestSequenceInPowersOfTwo) {
  EXPECT_EQ(static_context_ranks(768 << 10, 8192, 128), 128u);
  EXPECT_EQ(static_context_ranks(8192, 8192, 128), 1u);
  EXPECT_EQ(static_context_ranks(8193, 8192, 128), 2u);
  EXPECT_THROW(static_context_ranks(768 << 10, 8192, 100), Error);
}

TEST(BytescalePlanner, PlansAroundAbsentRanks) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  const auto lengths = mixed_lengths(1 << 16, 1 << 20, 1);
  PlannerOptions options = options_of(16, 8192, Schedule::balanced_data);
  const Plan all = make_plan(lengths, costs, options);
  options.present = {0, 1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 14, 15};
  EXPECT_THROW(check_plan(all, lengths, costs, options.present), Error);
  for (const Schedule schedule : schedules) {
    options.schedule = schedule;
    const Plan plan = make_plan(lengths, costs, options);
    EXPECT_NO_THROW(check_plan(plan, lengths, costs, options.present));
  }
}

TEST(BytescalePlanner, RefusesBadBatchesByName) {
  const StepCosts costs = card_costs();
  const PlannerOptions options = options_of(4, 1024, Schedule::balanced_data, Offload::none);
  const auto message = [&](const std::vector<std::uint32_t>& lengths) -> std::string {
    try {
      make_plan(lengths, costs, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message({5, 0, 7}).find("sequence 1 has no tokens"), std::string::npos);
  EXPECT_NE(message({5, 4097}).find("sequence 1 has 4097 tokens and needs 5 ranks"), std::string::npos);
  EXPECT_EQ(message({5, 4096}), "");
  EXPECT_NE(message({}), "");
  PlannerOptions bad = options;
  bad.capacity = 0;
  EXPECT_THROW(make_plan(std::vector<std::uint32_t>{5}, costs, bad), Error);
  bad = options;
  bad.ranks = 0;
  EXPECT_THROW(make_plan(std::vector<std::uint32_t>{5}, costs, bad), Error);
  bad = options;
  bad.present = {1, 1};
  EXPECT_THROW(make_plan(std::vector<std::uint32_t>{5}, costs, bad), Error);
}

TEST(BytescalePlan, BytesAreWhatTheFormatSays) {
  Plan plan;
  plan.ranks = 4;
  plan.capacity = 100;
  plan.items = {{0, 0, 250, {0, 1, 3}, 0, 0}, {1, 0, 40, {2}, 0, 0}, {2, 0, 60, {2}, 0, 128}};
  const Bytes bytes = encode_plan(plan);
  EXPECT_EQ(bytes.size(), 16u + 3 * 17 + 2 * (3 + 1 + 1) + 8);
  EXPECT_EQ(decode_plan(bytes), plan);
  const std::vector<std::uint32_t> lengths = {250, 40, 60};
  EXPECT_NO_THROW(check_plan(plan, lengths, card_costs()));
  const auto works = group_works(plan);
  ASSERT_EQ(works.size(), 2u);
  EXPECT_EQ(works[1].items, (std::vector<std::size_t>{1, 2}));
}

TEST(BytescalePlan, DamageIsFound) {
  Plan plan;
  plan.ranks = 4;
  plan.capacity = 100;
  plan.items = {{0, 0, 250, {0, 1, 3}, 0, 0}, {1, 0, 40, {2}, 0, 0}};
  const Bytes bytes = encode_plan(plan);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    Bytes damaged = bytes;
    damaged[i] ^= std::byte{1};
    EXPECT_THROW(decode_plan(damaged), Error);
    EXPECT_THROW(decode_plan(ByteSpan(bytes).first(i)), Error);
  }
}

TEST(BytescalePlan, ChecksFindEveryFault) {
  const StepCosts costs = card_costs();
  const std::vector<std::uint32_t> lengths = {250, 40, 60};
  Plan good;
  good.ranks = 4;
  good.capacity = 100;
  good.items = {{0, 0, 250, {0, 1, 3}, 0, 0}, {1, 0, 40, {2}, 0, 0}, {2, 0, 60, {2}, 0, 0}};
  const auto broken = [&](const std::function<void(Plan&)>& damage) {
    Plan plan = good;
    damage(plan);
    EXPECT_THROW(check_plan(plan, lengths, costs), Error);
  };
  broken([](Plan& p) { p.items.pop_back(); });                        // a sequence is missing
  broken([](Plan& p) { p.items[2].length = 59; });                    // a token is missing
  broken([](Plan& p) { p.items[2].sequence = 1; });                   // twice, and one missing
  broken([](Plan& p) { p.items[0].ranks = {0, 1, 1}; });              // a rank twice
  broken([](Plan& p) { p.items[0].ranks = {0, 1}; });                 // too small a group
  broken([](Plan& p) { p.items[0].ranks = {0, 1, 2}; });              // two groups in one slot
  broken([](Plan& p) { p.items[0].ranks = {0, 1, 4}; });              // no such rank
  broken([](Plan& p) { p.items[0].sequence = 9; });                   // no such sequence
  broken([](Plan& p) { p.items.push_back({2, 10, 5, {2}, 1, 0}); });  // tokens in two slices
  EXPECT_NO_THROW(check_plan(good, lengths, costs));
}

TEST(BytescaleExchanges, EveryPlanEndsInTheOrderOfItsSlots) {
  const StepCosts costs = costs_of(published_model("llama-7b"));
  RandomStream random(5, "bytescale", "groups");
  for (int round = 0; round < 200; ++round) {
    // Random groups in random slots, disjoint within each.
    Plan plan;
    plan.ranks = 2 + random.below(10);
    plan.capacity = 64;
    for (std::uint16_t slot = 0; slot < 8; ++slot) {
      std::vector<std::uint16_t> free(plan.ranks);
      std::iota(free.begin(), free.end(), std::uint16_t{0});
      while (!free.empty()) {
        std::vector<std::uint16_t> ranks;
        for (std::uint32_t left = 1 + random.below(static_cast<std::uint32_t>(free.size())); left > 0;
             --left) {
          const auto at = free.begin() + random.below(static_cast<std::uint32_t>(free.size()));
          ranks.push_back(*at);
          free.erase(at);
        }
        if (random.below(4) == 0) continue;  // idle in this slot
        plan.items.push_back({static_cast<std::uint32_t>(plan.items.size()), 0, 64, ranks, slot, 0});
      }
    }
    const auto works = group_works(plan);
    std::uint64_t wanted = 0;
    for (const GroupWork& work : works) wanted += work.ranks.size() * work.ranks.size();
    EXPECT_EQ(run_exchanges(works, works_of_ranks(works, plan.ranks)), wanted);
  }
  for (const Schedule schedule : schedules) {
    const auto lengths = mixed_lengths(1 << 18, 4 << 20, 4);
    const Plan plan = make_plan(lengths, costs, options_of(64, 8192, schedule));
    const auto works = group_works(plan);
    EXPECT_NO_THROW(run_exchanges(works, works_of_ranks(works, 64)));
  }
}

TEST(BytescaleExchanges, ACircleOfWaitingRanksIsFound) {
  // Three groups of two in a circle, each rank in another order.
  const std::vector<GroupWork> works = {{0, {0, 1}, {}}, {0, {1, 2}, {}}, {0, {2, 0}, {}}};
  EXPECT_NO_THROW(run_exchanges(works, {{0, 2}, {0, 1}, {1, 2}}));
  EXPECT_THROW(run_exchanges(works, {{2, 0}, {0, 1}, {1, 2}}), Error);
}

}  // namespace
}  // namespace laconic::bytescale
