// Numbers of cache arms between two others of known bytes.
#include "methods/cache/cache_trial.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

TEST(CacheTrialArms, LieBetweenTwoOthersInTheLogarithmOfTheBytes) {
  const std::vector<ArmNumbers> below = {{{"bytes_per_token", 100}, {"kl", 0.4}},
                                         {{"bytes_per_token", 100}, {"kl", 0.8}}},
                                above = {{{"bytes_per_token", 400}, {"kl", 0.1}},
                                         {{"bytes_per_token", 400}, {"kl", 0.2}}};
  const auto between = arms_between(below, above, 200);  // half way from 100 to 400
  ASSERT_EQ(between.size(), 2u);
  EXPECT_NEAR(between[0].at("kl"), 0.25, 1e-12);
  EXPECT_NEAR(between[1].at("kl"), 0.5, 1e-12);
  EXPECT_EQ(between[0].at("bytes_per_token"), 200);
  EXPECT_EQ(arms_between(below, above, 100)[1].at("kl"), 0.8);
  EXPECT_NEAR(arms_between(below, above, 400)[1].at("kl"), 0.2, 1e-12);
}

TEST(CacheTrialArms, AreNotExtrapolated) {
  const std::vector<ArmNumbers> below = {{{"bytes_per_token", 100}, {"kl", 0.4}}},
                                above = {{{"bytes_per_token", 400}, {"kl", 0.1}}};
  EXPECT_THROW(arms_between(below, above, 99), Error);
  EXPECT_THROW(arms_between(below, above, 401), Error);
}

}  // namespace
}  // namespace laconic
