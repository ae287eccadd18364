#include "engine/transport/elastic_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/engine/transport/elastic_sums.h"

namespace laconic {
namespace {

std::unique_ptr<ElasticWorld> first_member(ElasticThreads& run, std::uint64_t lives_for = UINT64_MAX) {
  auto world = run.join(lives_for);
  world->renew();
  return world;
}

TEST(ElasticThreads, NewcomersAreTakenInWhenTheGroupIsRenewed) {
  ElasticThreads run;
  const auto first = first_member(run);
  EXPECT_EQ(first->size(), 1);
  EXPECT_FALSE(first->newcomers_wait());
  const auto second = run.join();
  std::thread other([&] {
    second->renew();
    EXPECT_EQ(sum_until(*second, 1), std::vector<int>{2});
  });
  while (!first->newcomers_wait()) std::this_thread::yield();
  first->renew();
  EXPECT_EQ(sum_until(*first, 1), std::vector<int>{2});
  other.join();
  EXPECT_EQ(first->rank(), 0);
  EXPECT_EQ(second->rank(), 1);
}

// Wherever the third dies, the outcome of every operation is the same for the other two.
TEST(ElasticThreads, ADeathAnywhereIsSharedBySurvivors) {
  for (std::uint64_t lives = 0; lives < 40; ++lives) {
    ElasticThreads run;
    std::vector<std::unique_ptr<ElasticWorld>> worlds;
    worlds.push_back(run.join());
    worlds.push_back(run.join());
    worlds.push_back(run.join(lives));
    std::vector<std::vector<int>> sizes(3);
    std::vector<std::thread> threads;
    std::atomic<int> in_group{0};
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        worlds[i]->renew();
        // The first to come begin a group of their own; the others wait for them to renew it.
        while (worlds[i]->size() < 3) worlds[i]->renew();
        ++in_group;
        try {
          sizes[i] = sum_until(*worlds[i], 5);
        } catch (const ElasticThreads::Killed&) {
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(in_group, 3);
    EXPECT_EQ(sizes[0], sizes[1]) << "killed after " << lives << " messages";
    EXPECT_EQ(sizes[0].size(), 5u);
    EXPECT_EQ(sizes[0].back(), lives < 8 * 5 ? 2 : 3);
  }
}

TEST(ElasticThreads, StateComesFromTheFurthestMembers) {
  ElasticThreads run;
  const auto first = first_member(run);
  const auto second = run.join();
  std::vector<SharedPart> held = {{"x", Bytes(5, std::byte{1})}}, fresh = {{"x", Bytes(3)}};
  std::thread other([&] {
    second->renew();
    const SharedStateReport report = second->synchronise(0, fresh);
    EXPECT_TRUE(report.received);
    EXPECT_EQ(report.received_bytes, 5u);
  });
  while (!first->newcomers_wait()) std::this_thread::yield();
  first->renew();
  const SharedStateReport report = first->synchronise(7, held);
  other.join();
  EXPECT_FALSE(report.received);
  EXPECT_EQ(report.sent_bytes, 5u);
  EXPECT_EQ(fresh[0].bytes, held[0].bytes);
}

}  // namespace
}  // namespace laconic
