// The parts of the context mixer that can be said to be right or wrong alone.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/random.h"
#include "engine/coding/mixing_history.h"
#include "engine/coding/mixing_logistic.h"
#include "engine/coding/mixing_numbers.h"
#include "engine/coding/mixing_period.h"

namespace laconic {
namespace {

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  const RandomStream random(seed, "test", "models");
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(random.bits_at(i) & 255);
  return bytes;
}

TEST(MixingLogistic, FollowsTheCurve) {
  const LogisticTables& tables = LogisticTables::shared();
  for (int logit = -logit_limit; logit <= logit_limit; ++logit) {
    const double exact = 65536 / (1 + std::exp(-logit / 256.0));
    ASSERT_NEAR(tables.squash(logit), exact, 0.6 + exact * 1e-4) << logit;
    ASSERT_EQ(tables.squash(logit) + tables.squash(-logit), 65536) << logit;
  }
  for (std::uint32_t p = 1; p < 65536; ++p) {
    ASSERT_GE(tables.stretch(p), tables.stretch(p - 1));
    if (p < 65536 * 15 / 16 && p > 65536 / 16) {
      ASSERT_NEAR(tables.stretch(p), 256 * std::log(p / (65536.0 - p)), 1.5) << p;
    }
  }
  EXPECT_EQ(tables.stretch(32768), 0);
  EXPECT_EQ(tables.squash(100000), tables.squash(logit_limit));
}

TEST(MixingNumbers, FollowVarints) {
  ByteWriter writer;
  for (const std::uint64_t number : {5u, 300u, 5u, 0u, 70000u}) writer.varint(number);
  MixingNumbers numbers;
  std::vector<std::uint32_t> hashes, sizes;
  for (const std::byte byte : writer.take()) {
    numbers.advance(static_cast<std::uint8_t>(byte));
    EXPECT_EQ(numbers.length() != 0, (static_cast<int>(byte) & 128) != 0);
    if (numbers.length() != 0) continue;
    hashes.push_back(numbers.before(1));
    sizes.push_back(numbers.size(1));
  }
  EXPECT_EQ(sizes, (std::vector<std::uint32_t>{3, 9, 3, 0, 17}));
  EXPECT_EQ(hashes[0], hashes[2]);
  EXPECT_NE(hashes[0], hashes[1]);
  EXPECT_EQ(numbers.before(3), hashes[2]);
  EXPECT_EQ(numbers.size(4), sizes[1]);
  // A number that never ends.
  for (int i = 0; i < 1000; ++i) numbers.advance(255);
  EXPECT_EQ(numbers.length(), 1000u);
  EXPECT_EQ(numbers.repeats(), 255u);
}

TEST(MixingPeriod, FollowsTheRecords) {
  const auto after = [](const Bytes& bytes) {
    MixingPeriod period(bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) period.advance(i);
    return period.length();
  };
  EXPECT_EQ(after(random_bytes(5000, 9)), 0u);
  for (const std::size_t length : {std::size_t{2}, std::size_t{37}, MixingPeriod::longest}) {
    const Bytes row = random_bytes(length, 9);
    Bytes bytes = random_bytes(3000, 9);
    for (std::size_t size = 0; size < 8 * MixingPeriod::longest; size += length)
      bytes.insert(bytes.end(), row.begin(), row.end());
    EXPECT_EQ(after(bytes), length);
    const Bytes noise = random_bytes(3000, 3);
    bytes.insert(bytes.end(), noise.begin(), noise.end());
    EXPECT_EQ(after(bytes), 0u);
  }
}

TEST(BitHistory, CountsFollowTheBits) {
  const BitHistories& histories = BitHistories::shared();
  std::uint8_t state = 0;
  for (int i = 0; i < 60; ++i) {
    state = histories.after(state, 1);
    EXPECT_EQ(histories.ones(state), std::min(i + 1, 40));
    EXPECT_EQ(histories.zeros(state), 0);
  }
  // A surprise cuts the other count, a second one more.
  state = histories.after(state, 0);
  EXPECT_EQ(histories.zeros(state), 1);
  EXPECT_LE(histories.ones(state), 6);
  // No path leaves the table, and mirrored paths meet mirrored states.
  RandomStream random(15, "test", "history");
  std::uint8_t mirror = 0;
  state = 0;
  for (int i = 0; i < 100000; ++i) {
    const int bit = random.below(8) < static_cast<unsigned>(i / 500 % 9) ? 1 : 0;
    state = histories.after(state, bit);
    mirror = histories.after(mirror, 1 - bit);
    ASSERT_LT(state, histories.states());
    ASSERT_EQ(histories.ones(state), histories.zeros(mirror));
    ASSERT_EQ(histories.zeros(state), histories.ones(mirror));
    ASSERT_GT(histories.ones(state) + histories.zeros(state), 0);
  }
}

}  // namespace
}  // namespace laconic
