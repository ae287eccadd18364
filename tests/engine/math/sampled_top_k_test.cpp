#include "engine/math/sampled_top_k.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "engine/math/top_k.h"

namespace laconic {
namespace {

constexpr std::int64_t length = 100'000;

std::vector<float> drawn(const std::function<float(RandomStream&)>& draw) {
  RandomStream random(9, "test", "sampled");
  std::vector<float> values(static_cast<std::size_t>(length));
  for (float& value : values) value = draw(random);
  return values;
}

const RandomStream stream(1, "test", "start");

TEST(SampledTopK, TakesAboutKOfSmoothDistributionsAndNeverMore) {
  const std::vector<float> gaussian = drawn([](RandomStream& random) { return random.gaussian(); });
  const std::vector<float> laplace = drawn([](RandomStream& random) {
    const float u = random.uniform() - 0.5f;
    return std::copysign(std::log(1 - 2 * std::abs(u) + 1e-7f), u);
  });
  for (const auto& values : {gaussian, laplace}) {
    for (const double ratio : {0.01, 0.001}) {
      const auto k = static_cast<std::int64_t>(std::ceil(static_cast<double>(length) * ratio));
      for (std::uint64_t step = 0; step < 20; ++step) {
        const SampledSelection found =
            sampled_top_k(values, k, ratio, RandomStream(1, "test", "start", step));
        EXPECT_GE(found.samples, 1000);
        EXPECT_GE(found.selected, static_cast<std::int64_t>(0.8 * static_cast<double>(k)));
        EXPECT_LE(found.positions.size(), static_cast<std::size_t>(k));
        EXPECT_TRUE(std::is_sorted(found.positions.begin(), found.positions.end()));
        // What is taken are the largest: as many as there are, exactly.
        EXPECT_EQ(found.positions, top_k(values, static_cast<std::int64_t>(found.positions.size())));
      }
    }
  }
}

TEST(SampledTopK, OfEqualValuesTakesTheFirstOnes) {
  const std::vector<float> constant(static_cast<std::size_t>(length), -2.5f);
  const SampledSelection found = sampled_top_k(constant, 100, 0.001, stream);
  ASSERT_EQ(found.positions.size(), 100u);
  EXPECT_EQ(found.positions.front(), 0);
  EXPECT_EQ(found.positions.back(), 99);
  const std::vector<float> zeros(static_cast<std::size_t>(length), 0.0f);
  EXPECT_EQ(sampled_top_k(zeros, 7, 0.001, stream).positions,
            (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(SampledTopK, FindsTheOneThatIsNotZero) {
  std::vector<float> values(static_cast<std::size_t>(length), 0.0f);
  values[77'777] = -3;
  const SampledSelection found = sampled_top_k(values, 1, 0.00001, stream);
  EXPECT_EQ(found.positions, (std::vector<std::int64_t>{77'777}));
}

TEST(SampledTopK, ShortVectorsAreSelectedFromExactly) {
  const std::vector<float> values = {0.5f, -3, 2, 0, 1};
  const SampledSelection found = sampled_top_k(values, 2, 0.4, stream);
  EXPECT_EQ(found.samples, 0);
  EXPECT_EQ(found.positions, (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(sampled_top_k({}, 0, 0.4, stream).positions.empty());
}

}  // namespace
}  // namespace laconic
