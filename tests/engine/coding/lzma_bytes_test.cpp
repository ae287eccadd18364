// Bytes through liblzma: what the other coders of bytes share is tested in byte_coders_test.cpp.
#include "engine/coding/lzma_bytes.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

Bytes records(std::size_t size) {
  // A counter, three values, sixteen others, one value.
  const RandomStream random(8, "test", "records");
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint64_t values[] = {i / 4, random.bits_at(i) % 3, 64 + 5 * (random.bits_at(i) % 16), 128};
    bytes[i] = static_cast<std::byte>(values[i % 4]);
  }
  return bytes;
}

TEST(LzmaBytes, EveryOptionRoundTrips) {
  const Bytes bytes = records(20000);
  for (const int preset : {0, 3, 6, 9}) {
    for (const bool extreme : {false, true}) {
      for (int lc = 0; lc <= 4; ++lc) {
        for (int lp = 0; lc + lp <= 4; lp += 2) {
          LzmaOptions options;
          options.preset = preset;
          options.extreme = extreme;
          options.lc = lc;
          options.lp = lp;
          options.pb = (lc + preset) % 5;
          options.dictionary = lp == 0 ? 0u : 5000u;
          const Bytes coded = lzma_compress(bytes, options);
          Bytes back(bytes.size());
          lzma_expand(coded, back, "test");
          ASSERT_EQ(back, bytes) << preset << extreme << lc << lp;
        }
      }
    }
  }
}

TEST(LzmaBytes, FramingIsTheSmallest) {
  EXPECT_TRUE(lzma_compress({}).empty());
  // Properties, the five bytes that end the range coder, one literal, and no end marker (six bytes more).
  const Bytes one = lzma_compress(as_byte_span("x"));
  EXPECT_LE(one.size(), 7u);
  EXPECT_EQ(one[0], std::byte{3});
  LzmaOptions options;
  options.lc = 1;
  options.lp = 2;
  options.pb = 3;
  EXPECT_EQ(lzma_compress(as_byte_span("x"), options)[0], std::byte{(3 * 5 + 2) * 9 + 1});
  EXPECT_LE(lzma_compress(Bytes(100000, std::byte{7})).size(), 80u);
}

TEST(LzmaBytes, PositionBitsSuitRecords) {
  LzmaOptions options;
  options.lc = 0;
  options.lp = 2;
  options.pb = 2;
  const Bytes bytes = records(40000);
  EXPECT_LT(lzma_compress(bytes, options).size(), lzma_compress(bytes).size());
}

TEST(LzmaBytes, OptionsOutOfRangeAreRefused) {
  const auto refused = [](auto change) {
    LzmaOptions options;
    change(options);
    try {
      lzma_compress(as_byte_span("text"), options);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::usage;
    }
    return false;
  };
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.preset = 10; }));
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.preset = -1; }));
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.lp = 2; }));
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.lc = -1; }));
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.pb = 5; }));
  EXPECT_TRUE(refused([](LzmaOptions& options) { options.dictionary = 4000000000u; }));
  EXPECT_FALSE(refused([](LzmaOptions& options) { options.lc = 4; }));
}

TEST(LzmaBytes, ImpossiblePropertiesAreRefused) {
  const Bytes bytes = records(3000);
  Bytes coded = lzma_compress(bytes);
  Bytes back(bytes.size());
  for (const int properties : {5, 8, 9 * 4 + 1, 45 * 5, 255}) {
    coded[0] = static_cast<std::byte>(properties);
    EXPECT_THROW(lzma_expand(coded, back, "test"), Error) << properties;
  }
}

}  // namespace
}  // namespace laconic
