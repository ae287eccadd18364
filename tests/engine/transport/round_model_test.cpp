// Rounds of local steps on the clock: what is exposed follows the closed forms.
#include "engine/transport/round_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

RoundModel even(int delay, double k) {
  RoundModel model;
  model.workers = 4;
  model.rounds = 50;
  model.tau = 12;
  model.delay = delay;
  model.step_seconds = [](int, std::int64_t) { return 0.01; };
  model.reduce_seconds = [k](std::int64_t) { return k * 12 * 0.01; };
  return model;
}

TEST(RoundModel, AnInfinitelyFastLinkExposesNothing) {
  for (const int delay : {0, 1}) {
    const RoundTimes times = simulate_rounds(even(delay, 0));
    EXPECT_NEAR(times.waited, 0, 1e-12);
    EXPECT_NEAR(times.seconds, 50 * 12 * 0.01, 1e-9);
  }
}

TEST(RoundModel, AReductionOfKRoundsExposesKMinusOne) {
  for (const double k : {0.3, 0.99, 1.0, 1.5, 2.0, 7.0}) {
    const RoundTimes times = simulate_rounds(even(1, k));
    EXPECT_NEAR(times.per_round, std::max(0.0, k - 1) * 12 * 0.01, 1e-9) << k;
    // All rounds, what is exposed between them, and the last reduction, which nothing hides.
    EXPECT_NEAR(times.seconds, 0.12 * (50 + 49 * std::max(0.0, k - 1) + k), 1e-9) << k;
  }
}

TEST(RoundModel, WithoutDelayEveryReductionIsExposed) {
  const RoundTimes times = simulate_rounds(even(0, 0.5));
  EXPECT_NEAR(times.per_round, 0.06, 1e-9);
  EXPECT_NEAR(times.seconds, 50 * 0.18, 1e-9);
}

TEST(RoundModel, TheSlowestWorkerSetsThePace) {
  RoundModel model = even(1, 0.5);
  model.step_seconds = [](int worker, std::int64_t) { return worker == 2 ? 0.02 : 0.01; };
  const RoundTimes times = simulate_rounds(model);
  EXPECT_NEAR(times.compute, 50 * 12 * 0.02, 1e-9);
  EXPECT_NEAR(times.seconds, 50 * 12 * 0.02 + 0.06, 1e-6) << "the fast ones wait for it, it waits for nobody";
}

TEST(RoundModel, RepeatsExactlyWithRandomTimes) {
  RoundModel model = even(1, 1);
  const RandomStream random(4, "test", "steps");
  model.step_seconds = [&](int worker, std::int64_t step) {
    return 0.01 * (0.5 + random.uniform_at(static_cast<std::uint64_t>(step * 4 + worker)));
  };
  model.reduce_seconds = [&](std::int64_t round) {
    return 0.2 * random.uniform_at(1'000'000 + static_cast<std::uint64_t>(round));
  };
  const RoundTimes one = simulate_rounds(model), other = simulate_rounds(model);
  EXPECT_EQ(one.seconds, other.seconds);
  EXPECT_EQ(one.waited, other.waited);
  EXPECT_EQ(one.events, other.events);
}

TEST(RoundModel, ALinkGivesTheTimeOfItsRing) {
  Link link;
  link.alpha = 1e-3;
  link.beta = 8e-8;  // 100 Mbit/s
  const double bytes = 4e6, reduce = ring_all_reduce_seconds(link, 4, bytes), step = 0.02;
  const RoundTimes times = simulate_rounds(4, 20, 12, 1, step, link, bytes);
  EXPECT_NEAR(times.per_round, std::max(0.0, reduce - 12 * step), 1e-9);
}

TEST(RoundModel, RefusesRoundsThatAreNone) {
  RoundModel model = even(1, 1);
  model.tau = 0;
  EXPECT_THROW(simulate_rounds(model), Error);
  model = even(2, 1);
  EXPECT_THROW(simulate_rounds(model), Error);
}

}  // namespace
}  // namespace laconic
