#include "engine/metrics/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace laconic {
namespace {

TEST(Percentile, InterpolatesBetweenOrderStatistics) {
  const std::vector<double> values = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(percentile_of_sorted(values, 0), 1);
  EXPECT_DOUBLE_EQ(percentile_of_sorted(values, 0.5), 3);
  EXPECT_DOUBLE_EQ(percentile_of_sorted(values, 1), 8);
}

TEST(Bootstrap, WeighsItemsAndRepeatsForOneSeed) {
  const std::vector<double> values = {1, 3}, weights = {3, 1};
  const BootstrapInterval interval = bootstrap_mean(values, weights, 500, 7);
  EXPECT_DOUBLE_EQ(interval.mean, 1.5);
  EXPECT_DOUBLE_EQ(interval.low, 1);  // both draws the first item: one resample in four
  EXPECT_DOUBLE_EQ(interval.high, 3);
  const BootstrapInterval again = bootstrap_mean(values, weights, 500, 7);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

// 95 % of the intervals should hold the true mean: here 400 samples of 40 normal values, mean 0.
TEST(Bootstrap, CoversTheMeanAboutAsOftenAsItSays) {
  int covered = 0;
  for (std::uint64_t trial = 0; trial < 400; ++trial) {
    RandomStream random(trial, "test", "values");
    std::vector<double> values(40);
    for (double& value : values) value = random.gaussian();
    const BootstrapInterval interval = bootstrap_mean(values, {}, 400, trial);
    covered += interval.low <= 0 && 0 <= interval.high;
  }
  EXPECT_GT(covered, 360);  // 90 %
  EXPECT_LT(covered, 395);
}

}  // namespace
}  // namespace laconic
