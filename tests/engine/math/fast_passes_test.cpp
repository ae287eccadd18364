// Vector passes against what they stand for, one number at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/math/random_fill.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

std::vector<std::int64_t> sorted_top_k(const std::vector<float>& values, std::int64_t k) {
  std::vector<std::int64_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::fabs(values[static_cast<std::size_t>(a)]) > std::fabs(values[static_cast<std::size_t>(b)]);
  });
  order.resize(static_cast<std::size_t>(k));
  std::sort(order.begin(), order.end());
  return order;
}

TEST(TopK, FewOfManyAreExactlyTheLargest) {
  const RandomStream random(4, "test", "top k");
  for (const std::size_t n : {65536u, 100003u, 400000u}) {
    std::vector<float> plain(n), ties(n), equal(n, 2.0f), steps(n), spikes(n, 0.0f);
    for (std::size_t i = 0; i < n; ++i) {
      plain[i] = random.gaussian_at(i);
      ties[i] = static_cast<float>(random.bits_at(i) % 5) - 2;
      steps[i] = i % 1024 == 0 ? 100 + random.uniform_at(i) : random.uniform_at(i);  // one column of a matrix
      if (i % 5000 == 17) spikes[i] = random.gaussian_at(i);
    }
    for (const auto* values : {&plain, &ties, &equal, &steps, &spikes}) {
      for (const std::int64_t k : {1, 7, 65, 400, 4000})
        EXPECT_EQ(top_k(*values, k), sorted_top_k(*values, k));
    }
    plain[n / 3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(top_k(plain, 1).front(), static_cast<std::int64_t>(n / 3)) << "NaN counts as the largest";
  }
}

TEST(RandomFill, GivesTheDrawsOfTheStream) {
  const RandomStream random(0x123456789abcdefULL, "test", "fill", (1ULL << 40) + 5, 65535);
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{4}, std::uint64_t{1} << 34}) {
    for (const std::size_t count : {1u, 3u, 31u, 32u, 33u, 1000u}) {
      std::vector<std::uint32_t> words(count);
      random_bits(random, first, words);
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(words[i], random.bits_at(first + i)) << i;
    }
  }
}

}  // namespace
}  // namespace laconic
