#include "engine/transport/cost_model.h"

#include <gtest/gtest.h>

namespace laconic {
namespace {

TEST(CostModel, CollectivesOnALinkOfTheirOwn) {
  const Link link{1e-3, 1e-6, false};
  // 2 (W - 1) rounds of a W-th each.
  EXPECT_NEAR(ring_all_reduce_seconds(link, 4, 4000), 6 * (1e-3 + 1000e-6), 1e-12);
  EXPECT_NEAR(all_gather_seconds(link, 4, 100), 1e-3 + 300e-6, 1e-12);
  EXPECT_NEAR(owners_seconds(link, 4, 100), 2 * (1e-3 + 300e-6), 1e-12);
  EXPECT_NEAR(broadcast_seconds(link, 8, 100), 3 * (1e-3 + 100e-6), 1e-12);
  EXPECT_EQ(ring_all_reduce_seconds(link, 1, 4000), 0);
  EXPECT_EQ(all_gather_seconds(link, 1, 4000), 0);
}

TEST(CostModel, ASharedBucketCarriesEveryBodysBytes) {
  // 24 MiB through one bucket of 100 Mbit/s: four ranks and a vector of 4 MiB.
  const Link link{0, 8.0 / 100e6, true};
  EXPECT_NEAR(ring_all_reduce_seconds(link, 4, 4 << 20), 24.0 * (1 << 20) * 8 / 100e6, 1e-9);
}

TEST(CostModel, FitsAlphaAndBeta) {
  const double bytes[] = {1e3, 1e4, 1e5, 1e6};
  double seconds[4];
  for (int i = 0; i < 4; ++i) seconds[i] = 2e-4 + bytes[i] * 8e-8;
  const Link link = fit_link(bytes, seconds, 4);
  EXPECT_NEAR(link.alpha, 2e-4, 1e-12);
  EXPECT_NEAR(link.beta, 8e-8, 1e-15);
}

TEST(CostModel, OverlapHidesNoMoreThanThereIs) {
  EXPECT_DOUBLE_EQ(step_seconds({1, 0.1, 0.1, 2, 0}), 3.2);
  EXPECT_DOUBLE_EQ(step_seconds({1, 0.1, 0.1, 2, 0.5}), 2.7);
  EXPECT_DOUBLE_EQ(step_seconds({1, 0.1, 0.1, 0.2, 1}), 1.2);
  EXPECT_DOUBLE_EQ(largest_speedup(0.5, 3), 7);
}

}  // namespace
}  // namespace laconic
