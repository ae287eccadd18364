// PCCL: what its reproduction is measured from, and training through deaths over TCP.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/transport/tcp/peers_on_hosts.h"
#include "methods/gradients/pccl/measurements.h"
#include "methods/gradients/pccl/unreliable_training.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "tests/methods/least_squares_task.h"

namespace laconic::pccl {
namespace {

TEST(PcclRounding, WorkedExampleOfTheCard) {
  const std::vector<float> numbers = {-1, -0.5f, 0, 0.25f, 1};
  const RoundingResult truncated = round_block(numbers, WireRounding::truncate);
  EXPECT_EQ(truncated.codes, (std::vector<int>{0, 63, 127, 159, 255}));
  EXPECT_NEAR(truncated.mean_error, -0.00255, 5e-6);
  EXPECT_EQ(round_block(numbers, WireRounding::nearest_even).codes, (std::vector<int>{0, 64, 128, 159, 255}));
}

TEST(PcclRounding, TruncationIsHalfAStepTooLow) {
  EXPECT_NEAR(rounding_bias(WireRounding::truncate, 1), -0.5, 0.01);
  EXPECT_NEAR(rounding_bias(WireRounding::nearest_even, 1), 0, 0.01);
  EXPECT_NEAR(rounding_bias(WireRounding::stochastic, 1), 0, 0.01);
}

TEST(PcclRoutes, ExactSumsHaveNoErrorAndDirectOnesLessThanTheRing) {
  const RouteError ring = measure_route_error(AllReduceAlgorithm::ring, 4, 20'000, 8, 1),
                   direct = measure_route_error(AllReduceAlgorithm::direct, 4, 20'000, 8, 1);
  EXPECT_TRUE(ring.same_bits);
  EXPECT_TRUE(direct.same_bits);
  EXPECT_LT(direct.error, ring.error);
  EXPECT_GT(direct.error, 1e-4);
  EXPECT_NEAR(direct.sent_bytes / ring.sent_bytes, 1, 0.05);
  EXPECT_LT(measure_route_error(AllReduceAlgorithm::ring, 4, 20'000, 16, 1).error, ring.error / 100);
}

TEST(PcclAborts, WithoutAnyWordSomebodyWaitsForEver) {
  EXPECT_EQ(measure_abort(AbortForm::told, 4, 3).blocked, 0);
  EXPECT_EQ(measure_abort(AbortForm::closing, 4, 3).blocked, 0);
  EXPECT_GE(measure_abort(AbortForm::nothing, 4, 0.5).blocked, 1);
}

TEST(PcclHosts, APeerThatFailsLeavesNobodyWaiting) {
  PeersOnHosts run(3, nullptr);
  EXPECT_THROW(run.run([](Peer& peer, std::size_t i) {
    if (i == 1) fail(ErrorKind::input, "this one fails");
    float number = 1;
    ReduceRequest request;
    request.source = request.destination = &number;
    request.count = 1;
    try {
      for (;;) peer.all_reduce(request);
    } catch (const PeerError&) {
    }
  }),
               Error);
}

TEST(PcclHosts, PoolsAndRingsBetweenLimitedHosts) {
  if (const std::string fault = limited_hosts_fault(); !fault.empty()) GTEST_SKIP() << fault;
  PoolTrial trial;
  trial.peers = 2;
  trial.operations = 4;
  trial.numbers = 50'000;
  trial.connection_rate = 10e6;
  trial.pool = 1;
  const PoolResult one = measure_pool(trial);
  trial.pool = 4;
  const PoolResult four = measure_pool(trial);
  EXPECT_TRUE(one.same_bits);
  EXPECT_TRUE(four.same_bits);
  EXPECT_GT(one.seconds, 0.5);  // 0.8 MB at 10 Mbit/s, but for what a buffer holds
  EXPECT_LT(four.seconds, 0.6 * one.seconds);
}

TrainingSettings diloco(std::int64_t steps) {
  TrainingSettings settings;
  use_exchange(settings, exchange_by_name("diloco over pccl", {{"tau", "4"}}));
  settings.steps = steps;
  settings.batch = 4;
  settings.rate.rate = 0.002;
  settings.compare_every = 8;
  settings.seed = 3;
  return settings;
}

LeastSquaresTask small_task() {
  LeastSquaresOptions options;
  options.tensors = {{"matrix", {8, 8}, 0, 64}, {"vector", {8}, 64, 8}};
  options.examples = 256;
  return LeastSquaresTask(options);
}

TEST(PcclTraining, MembersWhomNothingBefallsTrainAsFixedRanks) {
  const LeastSquaresTask task = small_task();
  const TrainingResult fixed = train_on_threads(task, diloco(40), 3);
  for (const bool over_tcp : {false, true}) {
    const UnreliableResult outcome = train_unreliably(task, diloco(40), {3, 0, 0, over_tcp});
    EXPECT_EQ(outcome.finished, 3);
    EXPECT_TRUE(outcome.same_bits);
    EXPECT_FALSE(outcome.died);
    EXPECT_NEAR(outcome.result.evaluations.back().held_out.loss / fixed.evaluations.back().held_out.loss, 1,
                1e-3);
  }
}

TEST(PcclTraining, ADeathLeavesTheOthersWithTheSameBits) {
  const LeastSquaresTask task = small_task();
  const double before = task.replica()->evaluate(task.initial(3), 0).loss;
  for (const bool over_tcp : {false, true}) {
    const UnreliableResult outcome = train_unreliably(task, diloco(40), {3, 18, 0, over_tcp});
    EXPECT_TRUE(outcome.died);
    EXPECT_EQ(outcome.finished, 2);
    EXPECT_TRUE(outcome.same_bits);
    EXPECT_EQ(outcome.result.steps, 40);
    EXPECT_LT(outcome.result.evaluations.back().held_out.loss, before);
  }
}

TEST(PcclTraining, TheMethodIsCarriedByEveryRoute) {
  const LeastSquaresTask task = small_task();
  for (const char* bits : {"8", "16", "32"}) {
    for (const char* route : {"ring", "direct"}) {
      TrainingSettings settings = diloco(20);
      settings.local = {};
      use_exchange(settings, exchange_by_name("pccl", {{"bits", bits}, {"route", route}}));
      const TrainingResult result = train_on_threads(task, settings, 3);
      EXPECT_EQ(result.refused, 0) << bits << " " << route;
      EXPECT_LT(result.evaluations.back().held_out.loss, task.replica()->evaluate(task.initial(3), 0).loss);
    }
  }
}

}  // namespace
}  // namespace laconic::pccl
