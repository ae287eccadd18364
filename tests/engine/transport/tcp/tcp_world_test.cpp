// What elastic_threads_test.cpp asks of members that are threads, asked of peers over TCP; and a fixed group.
#include "engine/transport/tcp/tcp_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"
#include "tests/engine/transport/elastic_sums.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

constexpr std::size_t numbers = 100'000;  // of a sum: many pieces

void grow(ElasticWorld& world, int size) {
  world.renew();
  while (world.size() < size) {
    if (world.newcomers_wait())
      world.renew();
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(TcpWorld, NewcomersAreTakenInWhenTheGroupIsRenewed) {
  Master master(local_master_options());
  const auto first = join_tcp_run(options_for(master.port()));
  first->renew();
  EXPECT_EQ(first->size(), 1);
  EXPECT_EQ(sum_until(*first, 1, numbers), std::vector<int>{1});
  EXPECT_FALSE(first->newcomers_wait());
  const auto second = join_tcp_run(options_for(master.port()));
  std::thread other([&] {
    second->renew();
    EXPECT_EQ(sum_until(*second, 1, numbers), std::vector<int>{2});
  });
  while (!first->newcomers_wait()) std::this_thread::yield();
  first->renew();
  EXPECT_EQ(sum_until(*first, 1, numbers), std::vector<int>{2});
  other.join();
  EXPECT_NE(first->rank(), second->rank());
}

// Wherever the third leaves, the outcome of every operation is the same for the other two.
TEST(TcpWorld, ALossAnywhereIsSharedBySurvivors) {
  struct Left {};
  for (int leaves_in = 0; leaves_in < 6; ++leaves_in) {
    Master master(local_master_options());
    std::vector<std::vector<int>> sizes(3);
    EXPECT_EQ(faults_text(on_threads(3,
                                     [&](std::size_t i) {
                                       auto world = join_tcp_run(options_for(master.port()));
                                       grow(*world, 3);
                                       try {
                                         sizes[i] = sum_until(*world, 5, numbers, [&](int round) {
                                           if (i != 2 || round < leaves_in / 2) return;
                                           // In the middle of an operation, or between two.
                                           if (leaves_in % 2 == 1) {
                                             world->begin_operation();
                                             auto communicator = world->communicator();
                                             communicator->send((world->rank() + 1) % 3, 1, Bytes(10));
                                           }
                                           throw Left();
                                         });
                                       } catch (const Left&) {
                                       }
                                     })),
              "");
    EXPECT_EQ(sizes[0], sizes[1]) << leaves_in;
    EXPECT_EQ(sizes[0].size(), 5u);
    EXPECT_EQ(sizes[0].back(), 2);
  }
}

TEST(TcpWorld, StateComesFromTheFurthestMembers) {
  Master master(local_master_options());
  const auto first = join_tcp_run(options_for(master.port()));
  first->renew();
  const auto second = join_tcp_run(options_for(master.port()));
  std::vector<SharedPart> held = {{"x", Bytes(50'000, std::byte{1})}, {"y", Bytes(7, std::byte{2})}};
  std::vector<SharedPart> fresh = {{"x", Bytes(3)}, {"y", {}}};
  std::thread other([&] {
    second->renew();
    const SharedStateReport report = second->synchronise(0, fresh);
    EXPECT_TRUE(report.received);
    EXPECT_GE(report.received_bytes, 50'007u);
    // Once more, now that both hold the same.
    EXPECT_FALSE(second->synchronise(7, fresh).received);
  });
  while (!first->newcomers_wait()) std::this_thread::yield();
  first->renew();
  const SharedStateReport report = first->synchronise(7, held);
  EXPECT_FALSE(report.received);
  EXPECT_GE(report.sent_bytes, 50'007u);
  EXPECT_EQ(first->synchronise(7, held).sent_bytes, 0u);
  other.join();
  EXPECT_EQ(fresh[0].bytes, held[0].bytes);
  EXPECT_EQ(fresh[1].bytes, held[1].bytes);
}

TEST(TcpWorld, ALossWhileStateMovesLeavesTheOthersWithIt) {
  Master master(local_master_options());
  std::vector<Bytes> ends(3);
  EXPECT_EQ(
      faults_text(on_threads(
          3,
          [&](std::size_t i) {
            PeerOptions options = options_for(master.port());
            struct Left {};
            if (i == 2) {
              options.trace = [](std::string_view point) {
                if (point == "fetched") throw Left();
              };
            }
            auto world = join_tcp_run(options);
            grow(*world, 3);
            std::vector<SharedPart> state = {{"x", Bytes(100'000, std::byte{static_cast<std::uint8_t>(i)})}};
            try {
              world->synchronise(i == 0 ? 5 : 1, state);
            } catch (const Left&) {
              return;
            }
            ends[i] = state[0].bytes;
            EXPECT_EQ(sum_until(*world, 2, numbers), (std::vector<int>{2, 2}));
          })),
      "");
  EXPECT_EQ(ends[0], Bytes(100'000, std::byte{0}));
  EXPECT_EQ(ends[1], ends[0]);
}

TEST(TcpWorld, NobodyJoinsACompleteRun) {
  Master master(local_master_options());
  auto first = join_tcp_run(options_for(master.port()));
  first->renew();
  first->finish();
  first.reset();
  const auto late = join_tcp_run(options_for(master.port()));
  EXPECT_THROW(late->renew(), Error);
}

TEST(TcpRanks, ExchangeWhatThreadsExchange) {
  Master master(local_master_options());
  std::vector<std::vector<float>> sums(4);
  EXPECT_EQ(faults_text(on_threads(
                4,
                [&](std::size_t i) {
                  const auto communicator = join_tcp_ranks(options_for(master.port()), 4);
                  const int rank = communicator->rank();
                  sums[i].assign(1000, static_cast<float>(rank) * 0.1f);
                  all_reduce_sum(*communicator, sums[i]);
                  const std::vector<Bytes> all = all_gather(
                      *communicator, Bytes(static_cast<std::size_t>(rank) * 100'000, std::byte{1}));
                  for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(all[r].size(), r * 100'000);
                  EXPECT_EQ(broadcast(*communicator, 2, rank == 2 ? Bytes(5) : Bytes()).size(), 5u);
                  barrier(*communicator);
                })),
            "");
  for (const auto& sum : sums) EXPECT_EQ(sum, sums[0]);
}

TEST(TcpRanks, AFailedRankEndsTheOthers) {
  Master master(local_master_options());
  const auto faults = on_threads(3, [&](std::size_t i) {
    const auto communicator = join_tcp_ranks(options_for(master.port()), 3);
    if (i == 1) {
      communicator->abandon("it failed");
      return;
    }
    barrier(*communicator);
    barrier(*communicator);
  });
  int failed = 0;
  for (const auto& fault : faults) failed += fault != nullptr;
  EXPECT_EQ(failed, 2) << faults_text(faults);
}

}  // namespace
}  // namespace laconic
