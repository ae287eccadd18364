#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/overlap/overlap_model.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/t3/hardware_study.h"
#include "methods/gradients/t3/measured_overlap.h"
#include "methods/gradients/t3/tensor_parallel_model.h"
#include "runtime/corpus/stories.h"

namespace laconic::t3 {
namespace {

// One block for each chunk, a memory that takes no time: the closed form.
SimulatedRun whole_chunks(int devices, double product, double step) {
  SimulatedProduct what;
  what.devices = devices;
  what.block_bytes = 1;
  what.stage_seconds = product / devices;
  Device device;
  device.memory_bandwidth = std::numeric_limits<double>::infinity();
  device.link_bandwidth = 1 / step;
  device.link_latency = 0;
  return simulate_triggered(what, device, MemoryPolicy::first_come);
}

TEST(OverlapModel, WorkedTimings) {
  struct Case {
    int ranks;
    double product, step, sequential, overlapped;
  };
  for (const Case& c :
       {Case{4, 4, 1, 7, 4}, Case{4, 4, 0.5, 5.5, 4}, Case{4, 4, 2, 10, 7}, Case{8, 8, 1, 15, 8}}) {
    const OverlapModel model{c.ranks, c.product, c.step};
    EXPECT_EQ(model.sequential(), c.sequential);
    EXPECT_EQ(model.overlapped(), c.overlapped);
    EXPECT_EQ(whole_chunks(c.ranks, c.product, c.step).seconds, c.overlapped);
  }
}

TEST(OverlapModel, SpeedUpGoesWithTheExchangeOrTheProduct) {
  EXPECT_NEAR((OverlapModel{8, 8, 1e-9}).sub_layer_speedup(), 1, 1e-8);
  EXPECT_NEAR((OverlapModel{8, 1e-9, 1}).sub_layer_speedup(), 1, 1e-8);
  Device fast_link, slow_link;
  fast_link.link_bandwidth = 1e15;
  fast_link.link_latency = 0;
  fast_link.memory_bandwidth = 1e18;
  const Workload workload{small_models()[1], 8, SubLayer::fc2};
  EXPECT_NEAR(study_sub_layer(workload, fast_link).compute_first_speedup(), 1, 1e-3);
  slow_link.link_bandwidth = 1e6;
  EXPECT_NEAR(study_sub_layer(workload, slow_link).compute_first_speedup(), 1, 1e-3);
}

TEST(OverlapModel, MemoryRatiosAreThePapers) {
  for (const auto& [ranks, reads, writes] : {std::tuple{8, 2.5, 0.125}, std::tuple{16, 2.214, 0.0625}}) {
    const RingMemory sequential = sequential_memory(ranks, 1000), triggered = triggered_memory(ranks, 1000);
    EXPECT_NEAR(static_cast<double>(sequential.reads) / static_cast<double>(triggered.reads), reads, 5e-4);
    EXPECT_DOUBLE_EQ(1 - static_cast<double>(triggered.product_writes + triggered.updates) /
                             static_cast<double>(sequential.product_writes + sequential.updates),
                     writes);
  }
}

class Simulated : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(SubLayers, Simulated, testing::Range(0, 16, 3));

TEST_P(Simulated, WhatIsSentArrivesAndMemoryIsThatOfTheFormulas) {
  const Workload workload = workloads_of(small_models(), {8, 16})[static_cast<std::size_t>(GetParam())];
  const Device device;
  const SimulatedProduct product = simulated_product(workload, device, false);
  double seconds[2];
  for (const MemoryPolicy policy : {MemoryPolicy::first_come, MemoryPolicy::compute_first}) {
    const SimulatedRun run = simulate_triggered(product, device, policy);
    const double chunk = product.chunk_bytes();
    const RingMemory wanted = triggered_memory(workload.devices, 1);
    EXPECT_NEAR(run.link_bytes, (workload.devices - 1) * chunk, 1e-6 * chunk);
    EXPECT_EQ(run.arrived_bytes, run.link_bytes);
    const auto at = [&](Purpose purpose) { return run.bytes[static_cast<std::size_t>(purpose)]; };
    EXPECT_NEAR(at(Purpose::gemm_write), static_cast<double>(wanted.product_writes) * chunk, 1e-6 * chunk);
    EXPECT_NEAR(at(Purpose::exchange_read), static_cast<double>(wanted.reads) * chunk, 1e-6 * chunk);
    EXPECT_NEAR(at(Purpose::exchange_update), static_cast<double>(wanted.updates) * chunk, 1e-6 * chunk);
    EXPECT_NEAR(at(Purpose::gemm_read), reads_of_product(workload, device, false).total, 1e-3 * chunk);
    EXPECT_LE(run.longest_wait, device.starvation_limit * (1 + 1e-9));
    EXPECT_LE(run.tracker_peak, device.tracker_entries);
    seconds[static_cast<int>(policy)] = run.seconds;
    // Neither can end before the product has been made or the link has carried what it must.
    EXPECT_GE(run.seconds, run.product_seconds * (1 - 1e-9));
    EXPECT_GE(run.seconds, run.link_bytes / device.link_bandwidth);
  }
  EXPECT_LE(seconds[1], seconds[0] * (1 + 1e-9)) << "arbitration is never slower";
}

// 300 tiles are under way at once where the link is far behind; a tracker of 256 holds the product up and
// loses nothing.
TEST(SimulatedTracker, AFullOneHoldsTheProductUp) {
  SimulatedProduct product;
  product.devices = 4;
  product.blocks_per_chunk = 300;
  product.blocks_per_stage = 100;
  product.block_bytes = 1000;
  product.stage_seconds = 1e-6;
  Device device;
  device.link_bandwidth = 1e9;
  const SimulatedRun tight = simulate_triggered(product, device, MemoryPolicy::first_come);
  EXPECT_GT(tight.tracker_stalls, 0);
  EXPECT_EQ(tight.tracker_peak, 256);
  EXPECT_EQ(tight.triggers, 900);
  EXPECT_EQ(tight.arrived_bytes, 900 * 1000.0);
  device.tracker_entries = 10000;
  const SimulatedRun roomy = simulate_triggered(product, device, MemoryPolicy::first_come);
  EXPECT_EQ(roomy.tracker_stalls, 0);
  EXPECT_GT(roomy.tracker_peak, 256);
  EXPECT_LT(roomy.product_seconds, tight.product_seconds);
  device.tracker_entries = 99;
  EXPECT_THROW(simulate_triggered(product, device, MemoryPolicy::first_come), Error);
}

TEST(SimulatedMemory, RequestsOfTheExchangeWaitForTheProductButNotForEver) {
  EventClock clock;
  Device device;
  device.memory_bandwidth = 1;
  device.mca_threshold = 1;
  device.starvation_limit = 2.5;
  MemoryServer memory(clock, device, MemoryPolicy::compute_first);
  std::vector<int> order;
  for (int i = 0; i < 4; ++i) memory.request(Purpose::gemm_read, 1, 1, [&order, i] { order.push_back(i); });
  memory.request(Purpose::exchange_update, 1, 1, [&order] { order.push_back(100); });
  clock.run();
  // Served from 0, 1, 2, 3; at 2.5 the update enters the queue behind what is in it.
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 100}));
  EXPECT_DOUBLE_EQ(memory.longest_wait(), 2.5);
  EXPECT_DOUBLE_EQ(memory.busy_seconds(), 5);
}

TEST(SimulatedDevice, RefusesNumbersThatAreNotPositive) {
  const Workload workload{small_models()[0], 8, SubLayer::op};
  for (double Device::*number : {&Device::memory_bandwidth, &Device::efficiency, &Device::link_bandwidth,
                                 &Device::clock, &Device::request_bytes, &Device::starvation_limit}) {
    for (const double value : {0.0, -1.0, std::nan("")}) {
      Device device;
      device.*number = value;
      EXPECT_THROW(simulated_product(workload, device, true), Error);
    }
  }
  Device device;
  device.link_latency = -1;
  EXPECT_THROW(device.check(), Error);
}

TEST(MeasuredOverlap, RefusesWhatCannotBeMeasured) {
  OverlapTrial trial;
  trial.ranks = 1;
  EXPECT_THROW(measure_overlap(trial), Error);
  trial.ranks = 2;
  trial.exchange_over_product = 0;
  EXPECT_THROW(measure_overlap(trial), Error);
  trial.exchange_over_product = 1;
  trial.rows = 100;  // less than two tiles
  EXPECT_THROW(measure_overlap(trial), Error);
}

TEST(MeasuredOverlap, EveryFormLeavesTheSameBits) {
  OverlapTrial trial;
  trial.rows = 512;
  trial.columns = 128;
  trial.depth = 16;
  trial.rounds = 1;
  const OverlapMeasurement measured = measure_overlap(trial);
  ASSERT_EQ(measured.arms.size(), 6u);
  for (const auto& arm : measured.arms) EXPECT_TRUE(arm.same_bits) << arm.name;
  EXPECT_NEAR(measured.model.step, measured.model.exchange(), 1e-15);
}

OverlapPlan small_tiles(OverlapForm form) {
  OverlapPlan plan;
  plan.form = form;
  plan.layout.tile = {8, 32};
  plan.layout.sub_chunks = 2;
  return plan;
}

// Losses of some steps on one text; the same on every rank.
std::vector<double> losses_of(int ranks, const OverlapPlan& plan, int steps) {
  const TensorParallelShape shape{2, 32, 4, 16, 4};
  const std::string text = make_training_stories(1, 2);
  const std::vector<unsigned char> bytes(text.begin(), text.begin() + 4 * 17);
  std::vector<std::vector<double>> losses(static_cast<std::size_t>(ranks));
  ThreadWorld world(ranks);
  run_rank_threads(ranks, [&](int rank) {
    CommunicationThread thread([&] { return world.communicator(rank); });
    TensorParallelModel model(shape, rank, ranks, 3, plan);
    for (int step = 0; step < steps; ++step)
      losses[static_cast<std::size_t>(rank)].push_back(model.step(bytes, 0.02, thread));
  });
  for (const auto& other : losses) EXPECT_EQ(other, losses[0]);
  return losses[0];
}

TEST(TensorParallelModel, LearnsAndLosesNoBitToOverlap) {
  for (const int ranks : {1, 2, 4}) {
    const std::vector<double> losses = losses_of(ranks, small_tiles(OverlapForm::triggered), 30);
    EXPECT_LT(losses.back(), 0.6 * losses.front()) << ranks << " ranks";
    EXPECT_EQ(losses_of(ranks, small_tiles(OverlapForm::sequential), 30), losses) << ranks << " ranks";
  }
}

TEST(TensorParallelModel, RefusesHeadsThatDoNotSplit) {
  EXPECT_THROW(TensorParallelModel({1, 32, 3, 16, 2}, 0, 1, 1, {}), Error);
  EXPECT_THROW(TensorParallelModel({1, 32, 4, 16, 2}, 0, 3, 1, {}), Error);
}

}  // namespace
}  // namespace laconic::t3
