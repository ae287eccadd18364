#include "engine/coding/range_coder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/adaptive_models.h"

namespace laconic {
namespace {

struct Coded {
  std::uint32_t cumulative, frequency, total;
};

void round_trip(const std::vector<Coded>& symbols) {
  RangeEncoder encoder;
  double bits = 0;
  for (const Coded& s : symbols) {
    encoder.put(s.cumulative, s.frequency, s.total);
    bits += std::log2(static_cast<double>(s.total) / s.frequency);
  }
  const Bytes bytes = encoder.take();
  // The cut of range / total loses at most 1 / 256 of the interval per symbol, mostly far less.
  EXPECT_LE(static_cast<double>(bytes.size()) * 8, bits + 0.006 * static_cast<double>(symbols.size()) + 16);
  RangeDecoder decoder(bytes, "test");
  for (const Coded& s : symbols) {
    const std::uint32_t value = decoder.peek(s.total);
    ASSERT_GE(value, s.cumulative);
    ASSERT_LT(value, s.cumulative + s.frequency);
    decoder.take(s.cumulative, s.frequency, s.total);
  }
  decoder.expect_end();
}

TEST(RangeCoder, RandomIntervalsRoundTrip) {
  for (std::uint64_t round = 0; round < 300; ++round) {
    RandomStream random(1, "test", "intervals", round);
    std::vector<Coded> symbols(random.below(300));
    for (Coded& s : symbols) {
      s.total = 1 + random.below(1u << (1 + random.below(16)));
      s.cumulative = random.below(s.total);
      s.frequency = 1 + random.below(s.total - s.cumulative);
      if (round % 3 == 0) s.frequency = 1;
    }
    round_trip(symbols);
  }
}

// Intervals at the very top keep low near all ones, so that a later symbol's carry runs through many bytes.
TEST(RangeCoder, CarriesRunThroughHeldBytes) {
  for (const int length : {1, 2, 3, 10, 1000}) {
    for (const std::uint32_t last : {0u, 1u, 65535u}) {
      std::vector<Coded> symbols(static_cast<std::size_t>(length), Coded{65535, 1, 65536});
      symbols.push_back({last, 1, 65536});
      symbols.push_back({32767, 1, 65536});
      round_trip(symbols);
      // The unit of a total of 3 does not divide the range: the last symbol holds the remainder.
      for (Coded& s : symbols) s = {2, 1, 3};
      round_trip(symbols);
    }
  }
  // low = 0x00FFFFFF.. followed by an addition that overflows: found by brute force over short streams.
  for (std::uint32_t a = 0; a < 256; a += 5) {
    for (std::uint32_t b = 0; b < 256; b += 3) {
      round_trip({{255, 1, 256}, {a, 1, 256}, {255, 1, 256}, {b, 1, 257}, {256, 1, 257}, {255, 1, 256}});
    }
  }
}

TEST(RangeCoder, EmptyAndCertainCostNothing) {
  RangeEncoder encoder;
  EXPECT_TRUE(encoder.take().empty());
  for (int i = 0; i < 1000; ++i) encoder.put(0, 7, 7);
  const Bytes bytes = encoder.take();
  EXPECT_LE(bytes.size(), 1u);
  RangeDecoder decoder(bytes, "test");
  for (int i = 0; i < 1000; ++i) decoder.take(0, 7, (decoder.peek(7), 7));
  decoder.expect_end();
}

TEST(RangeCoder, CutAndProlongedStreamsAreRefused) {
  RangeEncoder encoder;
  RandomStream random(2, "test", "bits");
  for (int i = 0; i < 4000; ++i) encoder.put(random.below(256), 1, 256);
  const Bytes bytes = encoder.take();
  const auto refused = [&](ByteSpan damaged) {
    try {
      RangeDecoder decoder(damaged, "test");
      for (int i = 0; i < 4000; ++i) decoder.take(decoder.peek(256), 1, 256);
      decoder.expect_end();
      return false;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      return true;
    }
  };
  EXPECT_FALSE(refused(bytes));
  EXPECT_TRUE(refused(ByteSpan(bytes).first(bytes.size() - 5)));
  EXPECT_TRUE(refused({}));
  Bytes longer = bytes;
  longer.insert(longer.end(), 5, std::byte{1});
  EXPECT_TRUE(refused(longer));
  EXPECT_TRUE(refused(Bytes(4000, std::byte{0xFF})));
}

TEST(AdaptiveBit, TwoRatesAreAveraged) {
  AdaptiveBit bit;
  RangeEncoder encoder;
  EXPECT_EQ(bit.probability(), 32768u);
  bit.encode(encoder, true);  // 32768 + 2048 and 32768 + 256
  EXPECT_EQ(bit.probability(), (34816u + 33024u) / 2);
  bit.encode(encoder, false);  // 34816 - 2176 and 33024 - 258
  EXPECT_EQ(bit.probability(), (32640u + 32766u) / 2);
  for (int i = 0; i < 5000; ++i) bit.encode(encoder, true);
  EXPECT_EQ(bit.probability(), (65521u + 65409u) / 2);
  for (int i = 0; i < 5000; ++i) bit.encode(encoder, false);
  EXPECT_EQ(bit.probability(), (15u + 127u) / 2);
}

TEST(AdaptiveBit, SizesAreNearTheEntropy) {
  for (const double p : {0.5, 0.9, 0.02}) {
    const RandomStream random(3, "test", "bits");
    constexpr int n = 50000;
    RangeEncoder encoder;
    AdaptiveBit writer;
    for (int i = 0; i < n; ++i) writer.encode(encoder, random.uniform_at(static_cast<std::uint64_t>(i)) < p);
    const Bytes bytes = encoder.take();
    const double ideal = -n * (p * std::log2(p) + (1 - p) * std::log2(1 - p)) / 8;
    EXPECT_LE(static_cast<double>(bytes.size()), 1.05 * ideal + 100) << p;
    RangeDecoder decoder(bytes, "test");
    AdaptiveBit reader;
    for (int i = 0; i < n; ++i) {
      ASSERT_EQ(reader.decode(decoder), random.uniform_at(static_cast<std::uint64_t>(i)) < p);
    }
    decoder.expect_end();
  }
}

TEST(AdaptiveNumber, NumbersOfEveryWidthRoundTrip) {
  std::vector<std::uint32_t> numbers = {0, 1, 2, 3, (1u << 31) - 1, 1u << 30};
  RandomStream random(11, "test", "numbers");
  for (int i = 0; i < 4000; ++i) numbers.push_back(random.bits() >> (1 + random.below(31)));
  AdaptiveNumber model, same;
  RangeEncoder encoder;
  for (const std::uint32_t number : numbers) model.encode(encoder, number);
  const Bytes bytes = encoder.take();
  RangeDecoder decoder(bytes, "numbers");
  for (const std::uint32_t number : numbers) ASSERT_EQ(same.decode(decoder), number);
  decoder.expect_end();
  EXPECT_THROW(model.encode(encoder, 1u << 31), Error);
}

TEST(AdaptiveNumber, NumbersOfOneWidthCostTheirBits) {
  AdaptiveNumber model;
  RangeEncoder encoder;
  RandomStream random(12, "test", "numbers");
  for (int i = 0; i < 4000; ++i) model.encode(encoder, 64 + random.below(64));
  const std::size_t bytes = encoder.take().size();
  EXPECT_GT(bytes, 4000u * 6 / 8 - 8);
  EXPECT_LT(bytes, 4000u * 6 / 8 + 120);
}

TEST(AdaptiveSymbol, CountsGrowAndAreHalvedBelowTheLimit) {
  AdaptiveSymbol model(3);
  RangeEncoder encoder;
  for (int i = 0; i < 127; ++i) model.encode(encoder, 1);  // 3 + 127 * 32 = 4067
  EXPECT_EQ(model.total(), 4067u);
  EXPECT_EQ(model.count(1), 4065u);
  model.encode(encoder, 2);  // halved to 1, 2033, 1; then 32 more
  EXPECT_EQ(model.count(0), 1u);
  EXPECT_EQ(model.count(1), 2033u);
  EXPECT_EQ(model.count(2), 33u);
  EXPECT_EQ(model.total(), 2067u);
  EXPECT_THROW(model.encode(encoder, 3), Error);
  EXPECT_THROW(AdaptiveSymbol(2049), Error);
}

TEST(AdaptiveSymbol, EveryAlphabetRoundTripsNearTheEntropy) {
  for (const std::uint32_t symbols : {1u, 2u, 3u, 7u, 16u, 31u, 256u, 1000u, 2048u}) {
    RandomStream random(4, "test", "symbols", symbols);
    std::vector<std::uint32_t> values(20000);
    for (std::uint32_t& value : values) value = std::min(random.below(symbols), random.below(symbols));
    RangeEncoder encoder;
    AdaptiveSymbol writer(symbols);
    for (const std::uint32_t value : values) writer.encode(encoder, value);
    const Bytes bytes = encoder.take();
    const double flat = std::log2(symbols) * static_cast<double>(values.size()) / 8;
    EXPECT_LE(static_cast<double>(bytes.size()), 1.1 * flat + 100) << symbols;
    RangeDecoder decoder(bytes, "test");
    AdaptiveSymbol reader(symbols);
    for (const std::uint32_t value : values) ASSERT_EQ(reader.decode(decoder), value) << symbols;
    decoder.expect_end();
  }
}

// Streams that end in zeros, which the encoder leaves out: any number of lowest symbols, alone and at the
// end.
TEST(RangeCoder, ZerosAtTheEndAreLeftOut) {
  for (const std::uint32_t others : {0u, 1u, 5u}) {
    for (std::uint32_t count = 0; count < 60; ++count) {
      RangeEncoder encoder;
      for (std::uint32_t i = 0; i < others; ++i) encoder.put(30, 3, 40);
      for (std::uint32_t i = 0; i < count; ++i) encoder.put(0, 7, 4096);
      const Bytes coded = encoder.take();
      RangeDecoder decoder(coded, "test");
      for (std::uint32_t i = 0; i < others; ++i) {
        const std::uint32_t value = decoder.peek(40);
        ASSERT_TRUE(value >= 30 && value < 33);
        decoder.take(30, 3, 40);
      }
      for (std::uint32_t i = 0; i < count; ++i) {
        ASSERT_LT(decoder.peek(4096), 7u);
        decoder.take(0, 7, 4096);
      }
      decoder.expect_end();
    }
  }
}

}  // namespace
}  // namespace laconic
