#include "engine/transport/tcp/background_ring_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/transport/tcp/control_world.h"

namespace laconic {
namespace {

using control::MasterState;
using control::PeerId;

// Random bandwidths, and one planted ring that is faster than every other.
MasterState::MeasuredGroup planted(std::size_t members) {
  MasterState::MeasuredGroup group;
  for (std::size_t i = 0; i < members; ++i) group.members.push_back({static_cast<std::uint8_t>(i + 1)});
  RandomStream random(3, "background ring search", "bandwidths");
  group.bandwidth.resize(members * members);
  for (double& mbit : group.bandwidth) mbit = 1 + 99 * static_cast<double>(random.uniform());
  for (std::size_t i = 0; i < members; ++i) {
    const std::size_t next = (i * 7 + 7) % members,
                      from = i * 7 % members;  // 7 and `members` have no factor in common
    group.bandwidth[from * members + next] = 200;
  }
  return group;
}

double slowest(const MasterState::MeasuredGroup& group, const std::vector<PeerId>& order) {
  const std::size_t n = order.size();
  const auto index = [&](const PeerId& id) { return static_cast<std::size_t>(id[0] - 1); };
  double least = 1e9;
  for (std::size_t i = 0; i < n; ++i)
    least = std::min(least, group.bandwidth[index(order[i]) * n + index(order[(i + 1) % n])]);
  return least;
}

struct Told {
  std::mutex mutex;
  std::vector<std::vector<PeerId>> orders;
  BackgroundRingSearch::Found function() {
    return [this](std::uint32_t, const std::vector<PeerId>& order) {
      const std::lock_guard lock(mutex);
      orders.push_back(order);
    };
  }
};

TEST(BackgroundRingSearches, FindFasterRingsThanTheQuickOne) {
  const MasterState::MeasuredGroup group = planted(24);
  const RingSearch quick{.exact_nodes = 2, .iterations = 20, .starts = 1};
  const auto at_once = fastest_ring(group.bandwidth, 24, quick);
  ASSERT_TRUE(at_once);
  Told told;
  BackgroundRingSearch search(quick, 0.5, told.function());
  search.search(0, group);
  search.wait();
  ASSERT_FALSE(told.orders.empty());
  double before = at_once->bottleneck;
  for (const std::vector<PeerId>& order : told.orders) {
    std::vector<PeerId> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, group.members);
    EXPECT_GE(slowest(group, order), before);
    before = slowest(group, order);
  }
  EXPECT_GT(before, at_once->bottleneck);
}

TEST(BackgroundRingSearches, AreExactForGroupsOfModerateSize) {
  const MasterState::MeasuredGroup group = planted(15);
  Told told;
  BackgroundRingSearch search({.exact_nodes = 12, .iterations = 0, .starts = 1}, 60, told.function());
  search.search(0, group);
  search.wait();  // it does not need the minute
  ASSERT_FALSE(told.orders.empty());
  EXPECT_EQ(slowest(group, told.orders.back()), 200);
}

TEST(BackgroundRingSearches, EndSoonAndGiveWayToALaterMeasurement) {
  Told told;
  const auto start = std::chrono::steady_clock::now();
  {
    BackgroundRingSearch search({}, 60, told.function());
    search.search(0, planted(40));
    MasterState::MeasuredGroup later = planted(15);
    search.search(0, later);
    search.wait();
    search.search(1, planted(40));
    search.search(2, planted(5));  // solved exactly at once
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  for (const std::vector<PeerId>& order : told.orders) EXPECT_NE(order.size(), 5u);
}

// What was found for members of another time is not taken.
TEST(BackgroundRingSearches, AreDiscardedWhenTheMembersHaveChanged) {
  control::MasterSettings settings;
  settings.ring_search = {.exact_nodes = 2, .iterations = 0, .starts = 1};
  control::World world(settings);
  world.start(14);
  world.answers = false;
  for (auto& peer : world.peers) peer->state.optimize();
  world.settle();
  world.answers = true;
  EXPECT_EQ(world.master->measurements(), 0u);
  for (auto& peer : world.peers) {
    const control::Measure measure = peer->all<control::Measure>().back();
    for (const control::Member& target : measure.targets) {
      const auto distance = [&](const PeerId& a, const PeerId& b) { return a[0] * 31 % 17 + b[0] * 7 % 13; };
      peer->state.bandwidth(measure.round, target.id, 1 + distance(peer->state.id(), target.id));
    }
    peer->state.measured(measure.round);
  }
  world.settle();
  EXPECT_EQ(world.master->measurements(), 1u);
  ASSERT_EQ(world.master->groups(), std::vector<std::uint32_t>{0});
  Told told;
  BackgroundRingSearch search(settings.ring_search, 20, told.function());
  search.search(0, world.master->measured(0));
  search.wait();
  ASSERT_FALSE(told.orders.empty());
  EXPECT_TRUE(world.master->adopt_ring(0, told.orders.back()));
  world.rewire_all();
  for (std::size_t i = 0; i < 14; ++i)
    EXPECT_EQ(world.peers[0]->state.topology().ring[i].id, told.orders.back()[i]);
  world.kill(*world.peers[3]);
  EXPECT_FALSE(world.master->adopt_ring(0, told.orders.back()));
}

}  // namespace
}  // namespace laconic
