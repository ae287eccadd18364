#include "engine/allocate/bin_packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

using Bins = std::vector<std::vector<std::size_t>>;

TEST(BinPacking, LargestFirstIntoTheFullestBinThatFits) {
  // 6, 5 | 5 -> 7 opens a bin, 6 another; 3 fits exactly beside 7; 4 beside 6; 2 opens a third.
  const std::vector<std::uint64_t> sizes = {3, 7, 2, 6, 4};
  EXPECT_EQ(pack_best_fit(sizes, 10), (Bins{{1, 0}, {3, 4}, {2}}));
}

TEST(BinPacking, EqualItemsKeepTheirOrder) {
  const std::vector<std::uint64_t> sizes = {5, 5, 5};
  EXPECT_EQ(pack_best_fit(sizes, 10), (Bins{{0, 1}, {2}}));
  EXPECT_TRUE(pack_best_fit({}, 10).empty());
}

TEST(BinPacking, HoldsEveryItemOnceAndNeverTooMuch) {
  RandomStream random(3, "packing", "test");
  std::vector<std::uint64_t> sizes(2000);
  for (auto& size : sizes) size = 1 + random.below(100);
  const Bins bins = pack_best_fit(sizes, 128);
  std::vector<int> seen(sizes.size(), 0);
  std::uint64_t total = 0;
  for (const auto& bin : bins) {
    std::uint64_t sum = 0;
    for (const std::size_t item : bin) {
      ++seen[item];
      sum += sizes[item];
    }
    EXPECT_LE(sum, 128u);
    total += sum;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), std::ssize(seen));
  // The bound of the order, against the least that any packing needs.
  EXPECT_LE(bins.size(), (total + 127) / 128 * 11 / 9 + 1);
}

TEST(BinPacking, NamesAnItemThatFitsNowhere) {
  const std::vector<std::uint64_t> sizes = {3, 11};
  EXPECT_THROW(pack_best_fit(sizes, 10), Error);
  EXPECT_THROW(pack_best_fit(sizes, 0), Error);
}

}  // namespace
}  // namespace laconic
