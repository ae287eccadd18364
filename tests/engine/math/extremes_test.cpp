#include "engine/math/extremes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/base/random.h"

namespace laconic {
namespace {

// The definition by two sorts.
std::vector<std::int64_t> sorted_extremes(const std::vector<float>& values, std::int64_t k) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto at = [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return at(a) > at(b); });
  const auto high = std::min(order.begin() + k, order.end());
  std::vector<std::int64_t> result(order.begin(), high), rest(high, order.end());
  std::sort(rest.begin(), rest.end());
  std::stable_sort(rest.begin(), rest.end(), [&](auto a, auto b) { return at(a) < at(b); });
  result.insert(result.end(), rest.begin(), std::min(rest.begin() + k, rest.end()));
  std::sort(result.begin(), result.end());
  return result;
}

TEST(Extremes, AreTheLargestAndTheSmallestWithTiesAtTheLowerIndex) {
  using Indices = std::vector<std::int64_t>;
  EXPECT_EQ(extreme_entries(std::vector<float>{1, 5, 5, -2, -2, 0}, 1), (Indices{1, 3}));
  EXPECT_EQ(extreme_entries(std::vector<float>{7, 7, 7, 7, 7}, 2), (Indices{0, 1, 2, 3}));
  EXPECT_EQ(extreme_entries(std::vector<float>{3, 1, 2}, 2), (Indices{0, 1, 2}));
  EXPECT_EQ(extreme_entries(std::vector<float>{3}, 2), (Indices{0}));
  EXPECT_EQ(extreme_entries(std::vector<float>{3, 4}, 0), Indices{});
  EXPECT_EQ(extreme_entries(std::vector<float>{}, 3), Indices{});
}

TEST(Extremes, EqualTheDefinition) {
  RandomStream random(3, "test", "extremes");
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<float> values(random.below(60));
    for (float& value : values) value = static_cast<float>(random.below(9)) - 4;  // many ties
    const std::int64_t k = random.below(20);
    EXPECT_EQ(extreme_entries(values, k), sorted_extremes(values, k));
  }
}

}  // namespace
}  // namespace laconic
