// Channels in f64: what comes back, how many bytes it took, and what is refused.
#include "methods/gradients/exact_channels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

std::vector<double> numbers(std::size_t count, std::uint64_t seed) {
  const RandomStream random(seed, "test", "exact channels");
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(random.gaussian_at(i));
  return values;
}

TEST(ExactChannels, TopKBringsTheLargestBackInTightMessages) {
  for (const std::size_t d : {1u, 2u, 7u, 64u, 100u, 129u, 1000u}) {
    for (const std::int64_t k : {1, 3, 10, 2000}) {
      const std::vector<double> values = numbers(d, d);
      const auto channel = exact_top_k_channel(k);
      const Bytes message = channel->encode(values, {});
      const auto kept = static_cast<std::size_t>(std::min<std::int64_t>(k, static_cast<std::int64_t>(d)));
      const auto bits = static_cast<std::size_t>(d < 2 ? 0 : std::ceil(std::log2(static_cast<double>(d))));
      EXPECT_EQ(message.size(), (kept * bits + 7) / 8 + 8 * kept);
      std::vector<double> decoded(d, 99);
      channel->decode(message, decoded);
      std::vector<double> expected(d);
      for (const std::int64_t position : top_k(values, k))
        expected[static_cast<std::size_t>(position)] = values[static_cast<std::size_t>(position)];
      EXPECT_EQ(decoded, expected);
    }
  }
}

TEST(ExactChannels, RandKIsUnbiasedAndSendsOnlyValues) {
  const std::vector<double> values = numbers(12, 1);
  const auto channel = exact_rand_k_channel(3, 7);
  std::vector<double> sum(12), decoded(12);
  constexpr std::uint64_t draws = 20000;
  double variance = 0, square = 0;
  for (const double value : values) square += value * value;
  for (std::uint64_t step = 1; step <= draws; ++step) {
    const Bytes message = channel->encode(values, {step, 2});
    EXPECT_LE(message.size(), 3 * 8 + 4u);
    channel->decode(message, decoded);
    int kept = 0;
    for (std::size_t i = 0; i < 12; ++i) {
      kept += decoded[i] != 0 ? 1 : 0;
      sum[i] += decoded[i];
      variance += (decoded[i] - values[i]) * (decoded[i] - values[i]);
    }
    EXPECT_EQ(kept, 3);
  }
  for (std::size_t i = 0; i < 12; ++i) {
    // The mean of (d / k) b v, b a coin of chance k / d.
    const double deviation = std::abs(values[i]) * std::sqrt(3.0 / static_cast<double>(draws));
    EXPECT_NEAR(sum[i] / static_cast<double>(draws), values[i], 4 * deviation);
  }
  EXPECT_NEAR(variance / static_cast<double>(draws) / square, *channel->properties(12).omega, 0.1);
}

TEST(ExactChannels, AThresholdKeepsWhatIsOver) {
  const std::vector<double> values = {0.5, -2, 0, 1, -1.5, 0.1, 3, 0.9, -1};
  const auto channel = exact_threshold_channel(1);
  std::vector<double> decoded(9);
  const Bytes message = channel->encode(values, {});
  EXPECT_EQ(message.size(), 2u + 3 * 8u);
  channel->decode(message, decoded);
  EXPECT_EQ(decoded, (std::vector<double>{0, -2, 0, 0, -1.5, 0, 3, 0, 0}));
}

TEST(ExactChannels, HostileMessagesAreRefused) {
  const std::vector<double> values = numbers(100, 3);
  std::vector<double> decoded(100);
  for (const auto& channel :
       {exact_channel(), exact_top_k_channel(5), exact_rand_k_channel(5, 1), exact_threshold_channel(1.5)}) {
    const Bytes message = channel->encode(values, {3, 1});
    for (std::size_t length = 0; length < message.size(); ++length)
      EXPECT_THROW(channel->decode(ByteSpan(message).first(length), decoded), Error) << channel->text();
    Bytes longer = message;
    longer.push_back(std::byte{0});
    EXPECT_THROW(channel->decode(longer, decoded), Error) << channel->text();
    // Any byte may be anything: an error or numbers, nothing else.
    for (std::size_t at = 0; at < message.size(); ++at) {
      for (const unsigned change : {1u, 0x80u, 0xffu}) {
        Bytes flipped = message;
        flipped[at] ^= static_cast<std::byte>(change);
        try {
          channel->decode(flipped, decoded);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::corrupt);
        }
      }
    }
  }
  EXPECT_THROW(exact_top_k_channel(0), Error);
  EXPECT_THROW(exact_rand_k_channel(0, 1), Error);
  EXPECT_THROW(exact_threshold_channel(0), Error);
}

}  // namespace
}  // namespace laconic
