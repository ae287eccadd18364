#include "engine/coding/bit_stream.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/integer_codes.h"

namespace laconic {
namespace {

template <class Action>
void expect_corrupt(Action action) {
  try {
    action();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
  }
}

TEST(BitStream, FirstBitsLieLowest) {
  BitWriter writer;
  writer.put(0b01, 2);
  writer.put(0b110, 3);
  writer.put(0b1011, 4);
  EXPECT_EQ(writer.bits(), 9u);
  EXPECT_EQ(writer.take(), (Bytes{std::byte{0b01111001}, std::byte{0b1}}));
  EXPECT_EQ(writer.bits(), 0u);
}

TEST(BitStream, EveryWidthRoundTrips) {
  RandomStream random(1, "test", "bits");
  std::vector<std::pair<std::uint64_t, int>> items;
  BitWriter writer;
  std::uint64_t bits = 0;
  for (int i = 0; i < 5000; ++i) {
    const int width = static_cast<int>(random.below(57));
    const std::uint64_t value = (std::uint64_t{random.bits()} << 32 | random.bits());
    writer.put(value, width);  // bits above the width are ignored
    items.emplace_back(value & ((std::uint64_t{1} << width) - 1), width);
    bits += static_cast<std::uint64_t>(width);
    ASSERT_EQ(writer.bits(), bits);
  }
  const Bytes bytes = writer.take();
  EXPECT_EQ(bytes.size(), (bits + 7) / 8);
  BitReader reader(bytes, "test");
  for (const auto& [value, width] : items) {
    ASSERT_EQ(reader.peek(width), value);
    ASSERT_EQ(reader.read(width), value);
  }
  EXPECT_EQ(reader.position(), bits);
  reader.expect_end();
}

TEST(BitStream, NothingIsReadBeyondTheEnd) {
  const Bytes bytes(3, std::byte{0xFF});
  BitReader reader(bytes, "test");
  EXPECT_EQ(reader.peek(40), 0xFFFFFFu);
  EXPECT_EQ(reader.read(20), 0xFFFFFu);
  EXPECT_EQ(reader.remaining(), 4u);
  expect_corrupt([&] { BitReader(reader).read(5); });
  expect_corrupt([&] { BitReader(reader).expect_end(); });
  expect_corrupt([&] { BitReader(reader).read_ones(100); });
  EXPECT_EQ(reader.read(4), 0xFu);
  reader.expect_end();
  expect_corrupt([&] { BitReader({}, "test").read(1); });
}

TEST(IntegerCodes, ZigZagOrdersByMagnitude) {
  const std::int64_t values[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
  const std::uint64_t codes[] = {0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX};
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(zig_zag(values[i]), codes[i]);
    EXPECT_EQ(undo_zig_zag(codes[i]), values[i]);
  }
}

TEST(IntegerCodes, HandComputed) {
  BitWriter writer;
  put_elias_gamma(writer, 1);      // 0
  put_elias_gamma(writer, 5);      // 1 1 0, then 01 lowest first: 1 0
  put_golomb_rice(writer, 11, 2);  // 11 = 2 * 4 + 3: 1 1 0, then 1 1
  EXPECT_EQ(writer.bits(), 1u + 5u + 5u);
  EXPECT_EQ(writer.take(), (Bytes{std::byte{0b11010110}, std::byte{0b110}}));
}

TEST(IntegerCodes, RoundTripWithTheStatedLengths) {
  std::vector<std::uint64_t> values = {1, 2, 3, 4, 255, 256, UINT64_MAX, UINT64_MAX / 2, 1000};
  for (const std::uint64_t value : values) {
    BitWriter writer;
    put_elias_gamma(writer, value);
    EXPECT_EQ(writer.bits(), elias_gamma_bits(value));
    const Bytes bytes = writer.take();
    BitReader reader(bytes, "test");
    EXPECT_EQ(read_elias_gamma(reader, UINT64_MAX), value);
    if (value > 1) {
      BitReader again(bytes, "test");
      expect_corrupt([&] { read_elias_gamma(again, value - 1); });
    }
  }
  for (int parameter = 0; parameter <= 20; ++parameter) {
    for (const std::uint64_t value : {0, 1, 17, 255, 4000}) {
      BitWriter writer;
      put_golomb_rice(writer, value, parameter);
      EXPECT_EQ(writer.bits(), golomb_rice_bits(value, parameter));
      const Bytes bytes = writer.take();
      BitReader reader(bytes, "test");
      EXPECT_EQ(read_golomb_rice(reader, parameter, value), value);
      if (value > 0) {
        BitReader again(bytes, "test");
        expect_corrupt([&] { read_golomb_rice(again, parameter, value - 1); });
      }
    }
  }
}

TEST(IntegerCodes, RiceParameterIsTheCheapest) {
  RandomStream random(2, "test", "rice");
  for (const std::uint32_t mean : {1u, 7u, 100u, 5000u}) {
    std::vector<std::uint64_t> values(300);
    for (std::uint64_t& value : values) value = random.below(2 * mean);
    const RiceChoice choice = best_golomb_rice(values, 20);
    for (int parameter = 0; parameter <= 20; ++parameter) {
      BitWriter writer;
      for (const std::uint64_t value : values) put_golomb_rice(writer, value, parameter);
      EXPECT_GE(writer.bits(), choice.bits);
      if (parameter == choice.parameter) {
        EXPECT_EQ(writer.bits(), choice.bits);
      }
    }
  }
}

}  // namespace
}  // namespace laconic
