#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace laconic {
namespace {

TEST(Random, PhiloxGivesTheAuthorsKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32_10({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu}),
            (PhiloxCounter{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32_10({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (PhiloxCounter{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Random, DrawsDependOnEveryPartOfTheKeyAndNotOnOrder) {
  RandomStream stream(1, "purpose", "name", 2, 3);
  const std::uint32_t first = stream.bits(), second = stream.bits();
  EXPECT_EQ(stream.bits_at(1), second);
  EXPECT_EQ(stream.bits_at(0), first);
  EXPECT_NE(RandomStream(2, "purpose", "name", 2, 3).bits(), first);
  EXPECT_NE(RandomStream(1, "purposen", "ame", 2, 3).bits(), first);
  EXPECT_NE(RandomStream(1, "purpose", "name", 3, 3).bits(), first);
  EXPECT_NE(RandomStream(1, "purpose", "name", 2, 4).bits(), first);
}

TEST(Random, UniformStaysBelowOneAndGaussianHasUnitMoments) {
  RandomStream stream(7, "test", "moments");
  double sum = 0, squares = 0;
  constexpr int count = 100000;
  for (int i = 0; i < count; ++i) {
    const float u = RandomStream(7, "u", "x").uniform_at(i);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    const double g = stream.gaussian();
    sum += g;
    squares += g * g;
  }
  EXPECT_NEAR(sum / count, 0, 0.015);
  EXPECT_NEAR(squares / count, 1, 0.02);
}

TEST(Random, BelowIsInRangeAndRoughlyUniform) {
  RandomStream stream(3, "below", "");
  int counts[7] = {};
  for (int i = 0; i < 70000; ++i) ++counts[stream.below(7)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(Random, NormalQuantileMatchesTheErrorFunction) {
  for (double p : {1e-9, 1e-4, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-7}) {
    const double x = normal_quantile(p);
    EXPECT_NEAR(0.5 * std::erfc(-x / std::sqrt(2.0)) / p, 1.0, 1e-7) << p;
  }
}

}  // namespace
}  // namespace laconic
