#include "engine/math/ring_tour.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

RingTour measured(const std::vector<double>& bandwidth, std::vector<std::size_t> order) {
  const std::size_t n = order.size();
  RingTour tour;
  tour.bottleneck = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < n; ++i) {
    const double edge = bandwidth[order[i] * n + order[(i + 1) % n]];
    tour.bottleneck = std::min(tour.bottleneck, edge);
    tour.cost += 1 / edge;
  }
  tour.order = std::move(order);
  return tour;
}

RingTour by_brute_force(const std::vector<double>& bandwidth, std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  RingTour best;
  do {
    const RingTour tour = measured(bandwidth, order);
    if (tour.bottleneck > best.bottleneck || (tour.bottleneck == best.bottleneck && tour.cost < best.cost))
      best = tour;
  } while (std::next_permutation(order.begin() + 1, order.end()));
  return best;
}

std::vector<double> random_bandwidths(std::uint64_t seed, std::size_t n, std::uint32_t missing_of_ten) {
  RandomStream random(seed, "test", "bandwidth");
  std::vector<double> bandwidth(n * n);
  // Few different values, so that bottlenecks tie and the sum decides.
  for (double& value : bandwidth)
    value = random.below(10) < missing_of_ten ? 0 : 50.0 * (1 + random.below(6));
  return bandwidth;
}

TEST(RingTour, EqualsBruteForceUpToEightNodes) {
  int rings = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const std::size_t n = 2 + seed % 7;
    const std::vector<double> bandwidth = random_bandwidths(seed, n, 3);
    const auto found = fastest_ring(bandwidth, n);
    const RingTour best = by_brute_force(bandwidth, n);
    ASSERT_EQ(found.has_value(), best.bottleneck > 0) << seed;
    if (!found) continue;
    ++rings;
    EXPECT_EQ(found->bottleneck, best.bottleneck) << seed;
    EXPECT_NEAR(found->cost, best.cost, 1e-12) << seed;
    EXPECT_EQ(found->order.front(), 0u);
    EXPECT_EQ(measured(bandwidth, found->order).bottleneck, best.bottleneck) << seed;
  }
  EXPECT_GT(rings, 30);
}

TEST(RingTour, TheSlowestEdgeComesBeforeTheSum) {
  // 0-1-2-3 has one slow edge and three very fast ones: a smaller sum, and the slower ring.
  std::vector<double> bandwidth(16, 40);
  for (const auto& [from, to] : {std::pair{0, 1}, {1, 2}, {2, 3}})
    bandwidth[static_cast<std::size_t>(from * 4 + to)] = 1000;
  bandwidth[3 * 4 + 0] = 30;
  const auto found = fastest_ring(bandwidth, 4);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bottleneck, 40);
  EXPECT_GT(found->cost, measured(bandwidth, {0, 1, 2, 3}).cost);
}

TEST(RingTour, SearchFindsWhatExactFinds) {
  int equal = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<double> bandwidth = random_bandwidths(seed, 9, 1);
    const auto exact = fastest_ring(bandwidth, 9);
    const auto searched = fastest_ring(bandwidth, 9, {.exact_nodes = 0, .iterations = 20000});
    ASSERT_EQ(exact.has_value(), searched.has_value());
    if (!exact) continue;
    EXPECT_EQ(searched->bottleneck, exact->bottleneck) << seed;
    equal += searched->cost < exact->cost + 1e-12;
  }
  EXPECT_GE(equal, 10);
}

TEST(RingTour, SearchFindsAHiddenFastRingAndRepeats) {
  constexpr std::size_t n = 24;
  std::vector<double> bandwidth(n * n, 50);
  // Node i to 7 i + 3 (mod 24) steps on: a ring through a stride that is coprime with 24.
  for (std::size_t i = 0; i < n; ++i) bandwidth[i * n + (i + 7) % n] = 400;
  const auto found = fastest_ring(bandwidth, n, {.iterations = 100000, .starts = 4});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bottleneck, 400);
  EXPECT_EQ(fastest_ring(bandwidth, n, {.iterations = 100000, .starts = 4})->order, found->order);
}

TEST(RingTour, SmallAndWrongInput) {
  EXPECT_EQ(fastest_ring(std::vector<double>{0}, 1)->order, (std::vector<std::size_t>{0}));
  EXPECT_EQ(fastest_ring(std::vector<double>{0, 5, 4, 0}, 2)->bottleneck, 4);
  EXPECT_FALSE(fastest_ring(std::vector<double>{0, 5, 0, 0}, 2));
  EXPECT_THROW(fastest_ring(std::vector<double>{1, 2, 3}, 2), Error);
  EXPECT_THROW(fastest_ring(std::vector<double>{}, 0), Error);
  EXPECT_THROW(fastest_ring(std::vector<double>{0, -1, 1, 0}, 2), Error);
  EXPECT_THROW(fastest_ring(std::vector<double>{0, std::numeric_limits<double>::infinity(), 1, 0}, 2), Error);
}

TEST(LinkedRing, KeepsTheOrderWhereItIsARing) {
  EXPECT_EQ(*linked_ring(std::vector<bool>(25, true), 5), (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  std::vector<bool> linked(25, true);
  linked[0 * 5 + 1] = linked[1 * 5 + 0] = false;
  EXPECT_EQ(*linked_ring(linked, 5), (std::vector<std::size_t>{0, 2, 1, 3, 4}));
}

TEST(LinkedRing, ExistsExactlyWhereBruteForceFindsOne) {
  int without = 0;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const std::size_t n = 2 + seed % 6;
    RandomStream random(seed, "test", "links");
    std::vector<bool> linked(n * n);
    std::vector<double> bandwidth(n * n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < i; ++j) linked[i * n + j] = linked[j * n + i] = random.below(10) < 6;
    }
    for (std::size_t i = 0; i < n * n; ++i) bandwidth[i] = linked[i];
    const bool exists = by_brute_force(bandwidth, n).bottleneck > 0;
    const auto found = linked_ring(linked, n);
    ASSERT_EQ(found.has_value(), exists) << seed;
    without += !exists;
    for (std::size_t i = 0; found && i < n; ++i) EXPECT_TRUE(linked[(*found)[i] * n + (*found)[(i + 1) % n]]);
  }
  EXPECT_GT(without, 10);
}

TEST(LinkedRing, AnswersForSixteenNodesWithoutARing) {
  // Two halves that meet in one node: every node has neighbours enough, and there is no ring.
  constexpr std::size_t n = 16;
  std::vector<bool> linked(n * n, false);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) linked[i * n + j] = (i <= 8 && j <= 8) || (i >= 8 && j >= 8);
  }
  EXPECT_FALSE(linked_ring(linked, n));
}

}  // namespace
}  // namespace laconic
