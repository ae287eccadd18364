#include "engine/column/stream_bundle.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

struct Streams {
  std::vector<Bytes> bytes;
  std::vector<BundleStream> list;
};

// Texts, numbers, noise, nothing and a repetition.
Streams some_streams() {
  RandomStream random(1, "test", "bundle");
  Streams streams;
  std::string text;
  for (int i = 0; i < 400; ++i) text += "word" + std::to_string(random.below(50)) + "\n";
  Bytes noise(700);
  for (std::byte& byte : noise) byte = static_cast<std::byte>(random.below(256));
  const ByteSpan span = as_byte_span(text);
  streams.bytes = {
      {span.begin(), span.end()}, Bytes(5000, std::byte{7}), noise, {}, {span.begin(), span.end()}};
  const std::vector<std::uint32_t> ids = {0, 3, 4, 900, 0xffffffff};
  for (std::size_t i = 0; i < ids.size(); ++i) {
    streams.list.push_back({ids[i], static_cast<std::uint32_t>(i % 2), streams.bytes[i]});
  }
  return streams;
}

std::vector<BundleOptions> every_option() {
  std::vector<BundleOptions> options;
  for (std::uint8_t coder = 0; coder < byte_coders; ++coder) {
    for (const BundleGrouping grouping : {BundleGrouping::together, BundleGrouping::smallest}) {
      for (const std::uint64_t own : {0, 600, 1}) {
        ByteKernel kernel;
        kernel.coder = static_cast<ByteCoder>(coder);
        options.push_back({kernel, grouping, own});
      }
    }
  }
  return options;
}

TEST(StreamBundle, StreamsComeBackByIdInAnyOrder) {
  const Streams streams = some_streams();
  for (const BundleOptions& options : every_option()) {
    const Bytes bundle = pack_streams(streams.list, options);
    BundleReader reader(bundle, 1 << 20, "bundle");
    ASSERT_EQ(reader.size(), streams.list.size());
    for (std::size_t i = streams.list.size(); i-- > 0;) {
      const ByteSpan back = reader.read_id(streams.list[i].id);
      EXPECT_EQ(Bytes(back.begin(), back.end()), streams.bytes[i]);
    }
    EXPECT_TRUE(reader.read_id(77).empty());
  }
}

TEST(StreamBundle, NoStreamsTakeOneByte) {
  const Bytes bundle = pack_streams({});
  EXPECT_EQ(bundle.size(), 1U);
  EXPECT_EQ(BundleReader(bundle, 0, "bundle").size(), 0U);
}

TEST(StreamBundle, TheDirectoryOfNineSmallStreamsTakesThirtyBytes) {
  Streams streams;
  for (std::uint32_t id = 0; id < 9; ++id) streams.bytes.emplace_back(1000, static_cast<std::byte>(id));
  for (std::uint32_t id = 0; id < 9; ++id) streams.list.push_back({id, id, streams.bytes[id]});
  BundleOptions options;
  options.grouping = BundleGrouping::together;
  Bytes raw;
  for (const Bytes& bytes : streams.bytes) raw.insert(raw.end(), bytes.begin(), bytes.end());
  EXPECT_LE(pack_streams(streams.list, options).size(), kernel_compress(options.kernel, raw).size() + 30);
}

TEST(StreamBundle, LengthsAreBoundedBeforeMemoryIsTaken) {
  const Streams streams = some_streams();
  const Bytes bundle = pack_streams(streams.list);
  EXPECT_THROW(BundleReader(bundle, 5000, "bundle"), Error);
}

// Two units of one stream each, stored.
Bytes two_units(std::uint32_t first, std::uint32_t second) {
  ByteWriter writer;
  writer.varint(2);
  for (const std::uint32_t id : {first, second}) {
    writer.varint(8);
    writer.varint(id);
    writer.varint(1);
    if (id == first && writer.size() < 5) writer.varint(1);
  }
  writer.u8(1);
  writer.u8(2);
  return writer.take();
}

TEST(StreamBundle, AnIdThatIsThereTwiceIsRefused) {
  const Bytes different = two_units(7, 3);
  BundleReader reader(different, 100, "bundle");
  EXPECT_EQ(reader.read_id(3)[0], std::byte{2});
  EXPECT_EQ(reader.read_id(7)[0], std::byte{1});
  const Bytes same = two_units(7, 7);
  EXPECT_THROW(BundleReader(same, 100, "bundle"), Error);
}

TEST(StreamBundle, WhatFollowsAZstdFrameIsRefused) {
  const Bytes raw(1000, std::byte{1});
  Bytes coded = zstd_compress(raw);
  Bytes back(raw.size());
  zstd_expand(coded, back, "frame");
  EXPECT_EQ(back, raw);
  // One of no bytes goes unnoticed by its length.
  const Bytes empty = zstd_compress({});
  coded.insert(coded.end(), empty.begin(), empty.end());
  EXPECT_THROW(zstd_expand(coded, back, "frame"), Error);
}

TEST(StreamBundle, DamageIsRefusedOrGivesStreamsOfTheSaidLength) {
  const Streams streams = some_streams();
  RandomStream random(2, "test", "damage");
  for (const BundleOptions& options : every_option()) {
    // Expanding is slow under context mixing.
    const int rounds = options.kernel.coder == ByteCoder::context_mixing ? 10 : 150;
    const Bytes whole = pack_streams(streams.list, options);
    for (int round = 0; round < rounds; ++round) {
      Bytes damaged = whole;
      const std::size_t place =
          random.below(static_cast<std::uint32_t>(round % 2 == 0 ? 30 : damaged.size()));
      if (round % 5 == 0) {
        damaged.resize(place);
      } else {
        damaged[place] = static_cast<std::byte>(random.below(256));
      }
      try {
        BundleReader reader(damaged, 1 << 16, "bundle");
        for (std::size_t i = 0; i < reader.size(); ++i) EXPECT_EQ(reader.read(i).size(), reader.raw_size(i));
      } catch (const Error& error) {
        EXPECT_TRUE(error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::unsupported)
            << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace laconic
