#include "engine/coding/context_mixing.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <array>
#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/coding/mixing_logistic.h"
#include "engine/coding/mixing_weights.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

Bytes bytes_of(std::string_view text) {
  const ByteSpan span = as_byte_span(text);
  return {span.begin(), span.end()};
}

Bytes random_bytes(std::size_t size, std::uint64_t seed = 9) {
  const RandomStream random(seed, "test", "mixing");
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(random.bits_at(i) & 255);
  return bytes;
}

// Lines of a service: a rising clock, few kinds of events, numbers.
Bytes log_lines(std::size_t lines) {
  RandomStream random(10, "test", "lines");
  constexpr std::array<std::string_view, 4> events = {
      "INFO  store.Writer: block # closed after # ms", "WARN  net.Peer: no answer from 10.0.0.#",
      "INFO  store.Reader: cache hit for key k#", "ERROR store.Writer: disk # is full"};
  std::string text;
  unsigned clock = 36000;
  for (std::size_t i = 0; i < lines; ++i) {
    clock += random.below(3);
    text.append("2031-04-05 ").append(std::to_string(clock / 3600));
    text.append(":").append(std::to_string(clock / 60 % 60));
    text.append(":").append(std::to_string(clock % 60)).append(" ");
    for (const char c : events[random.below(4)]) {
      if (c == '#') {
        text.append(std::to_string(random.below(200)));
      } else {
        text.push_back(c);
      }
    }
    text.push_back('\n');
  }
  return bytes_of(text);
}

// Records of 12 bytes: a counter, a small number, a slow one, noise.
Bytes record_bytes(std::size_t records) {
  RandomStream random(11, "test", "records");
  ByteWriter writer;
  std::uint32_t slow = 70000;
  for (std::uint32_t i = 0; i < records; ++i) {
    slow += random.below(5);
    writer.u32(i);
    writer.u16(static_cast<std::uint16_t>(random.below(6)));
    writer.u32(slow);
    writer.u16(static_cast<std::uint16_t>(random.below(65536)));
  }
  return writer.take();
}

Bytes round_trip(const Bytes& bytes, const ContextMixingOptions& options = {}) {
  Bytes coded = context_mixing_compress(bytes, options);
  Bytes back(bytes.size(), std::byte{0xEE});
  context_mixing_expand(coded, back, "test");
  EXPECT_TRUE(back == bytes);
  return coded;
}

TEST(ContextMixing, RoundTrips) {
  EXPECT_TRUE(round_trip({}).empty());
  for (int value = 0; value < 256; value += 15)
    EXPECT_LE(round_trip({static_cast<std::byte>(value)}).size(), 3u);
  for (const std::size_t size : {2, 3, 7, 8, 255, 256, 257, 5000}) round_trip(random_bytes(size));
  Bytes every;
  for (int i = 0; i < 2048; ++i) every.push_back(static_cast<std::byte>(i * 167));
  round_trip(every);
  round_trip(bytes_of("\n\n\n\r\n\n"));
  round_trip(bytes_of(std::string(300, '\n') + std::string(300, '7') + std::string(3, '\0')));
  round_trip(record_bytes(700));
  round_trip(log_lines(300));
  // One row longer than any counter of columns.
  std::string row(70001, 'x');
  row.back() = 'y';
  round_trip(bytes_of(row));
}

TEST(ContextMixing, SizesAreSmall) {
  const Bytes noise = random_bytes(5000);
  EXPECT_LE(round_trip(noise).size(), noise.size() + 1);
  EXPECT_LE(round_trip(Bytes(100000, std::byte{7})).size(), 60u);
  const Bytes lines = log_lines(1000);
  EXPECT_LT(round_trip(lines).size(), zstd_compress(lines, 19).size() * 7 / 10);
  // The records' noise alone takes 2 of 12 bytes, and their small numbers a third of one.
  EXPECT_LT(round_trip(record_bytes(2000)).size(), std::size_t{2000} * 3);
}

TEST(ContextMixing, RecordsAreFoundAtAnyLength) {
  for (const std::size_t period : {3, 5, 24, 100}) {
    const Bytes row = random_bytes(period);
    const RandomStream random(12, "test", "rows");
    Bytes bytes(period * 200);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] =
          random.bits_at(i) % 3 == 0 ? static_cast<std::byte>(random.bits_at(i) >> 20 & 3) : row[i % period];
    }
    // One byte in three is one of four: log2(3) - 2/3 + 2/3 bits a byte, and the rows once.
    const double ideal = static_cast<double>(bytes.size()) * std::log2(3.0) / 8;
    EXPECT_LT(static_cast<double>(round_trip(bytes).size()),
              1.25 * ideal + 2.0 * static_cast<double>(period) + 60)
        << period;
  }
}

// Streams of several kinds in one unit, as columns hand them over: each as small as on its own, but for what
// it takes to notice the change.
TEST(ContextMixing, KindsMayChangeInside) {
  const Bytes lines = log_lines(300), records = record_bytes(1500), noise = random_bytes(2000);
  Bytes all;
  for (const Bytes* part : {&lines, &records, &lines, &noise})
    all.insert(all.end(), part->begin(), part->end());
  const std::size_t apart = round_trip(lines).size() + round_trip(records).size() + round_trip(noise).size();
  EXPECT_LT(round_trip(all).size(), apart + apart / 50);
}

TEST(ContextMixing, LittleMemoryIsEnoughToBeExact) {
  ContextMixingOptions options;
  for (const int memory_log2 :
       {ContextMixingOptions::least_memory_log2, 18, ContextMixingOptions::most_memory_log2}) {
    options.memory_log2 = memory_log2;
    round_trip(log_lines(200), options);
  }
  for (const int memory_log2 :
       {ContextMixingOptions::least_memory_log2 - 1, ContextMixingOptions::most_memory_log2 + 1}) {
    options.memory_log2 = memory_log2;
    EXPECT_THROW(context_mixing_compress(random_bytes(9), options), Error);
  }
}

// A change of these numbers is a change of the format: archives that exist could no longer be read.
TEST(ContextMixing, CodedBytesArePinned) {
  const Bytes lines = log_lines(400), records = record_bytes(900);
  Bytes both = lines;
  both.insert(both.end(), records.begin(), records.end());
  EXPECT_EQ(xxh3_64(context_mixing_compress(lines)), 5827011760475080859u);
  EXPECT_EQ(xxh3_64(context_mixing_compress(records)), 7560182392198748421u);
  EXPECT_EQ(xxh3_64(context_mixing_compress(both)), 16494368858313116191u);
  EXPECT_EQ(xxh3_64(context_mixing_compress(random_bytes(3000))), 13531671048724845957u);
}

TEST(ContextMixing, EveryTargetWritesTheSame) {
  const Bytes lines = log_lines(150);
  const Bytes coded = context_mixing_compress(lines);
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_TRUE(context_mixing_compress(lines) == coded) << hwy::TargetName(target);
    round_trip(lines);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ContextMixing, DamageIsRefusedOrDecodesWithinBounds) {
  for (const Bytes& bytes : {log_lines(60), record_bytes(150), random_bytes(1000)}) {
    const Bytes coded = context_mixing_compress(bytes);
    RandomStream random(13, "test", "damage");
    const auto attempt = [&](const Bytes& damaged, std::size_t wanted) {
      Bytes out(wanted);
      try {
        context_mixing_expand(damaged, out, "test");
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
        return true;
      }
      return out != bytes;
    };
    for (int round = 0; round < 30; ++round) {
      Bytes damaged = coded;
      damaged[random.below(static_cast<std::uint32_t>(round < 8 ? 2 : coded.size()))] ^=
          static_cast<std::byte>(1u << random.below(8));
      attempt(damaged, bytes.size());
      damaged = coded;
      damaged.resize(random.below(static_cast<std::uint32_t>(coded.size())));
      EXPECT_TRUE(attempt(damaged, bytes.size()));
    }
    Bytes longer = coded;
    longer.resize(longer.size() + 9, std::byte{1});
    EXPECT_TRUE(attempt(longer, bytes.size()));
    attempt(coded, bytes.size() + 1);
    attempt(coded, bytes.size() - 1);
    EXPECT_TRUE(attempt(coded, 0));
    EXPECT_TRUE(attempt({}, 5));
  }
}

TEST(MixingWeights, VectorsEqualScalarsOnEveryTarget) {
  const MixingWeightsKernel scalar = mixing_weights_scalar();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    const MixingWeightsKernel vector = mixing_weights_vector();
    RandomStream random(14, "test", "weights");
    for (std::size_t count = mixing_lanes; count <= 4 * mixing_lanes; count += mixing_lanes) {
      for (int round = 0; round < 200; ++round) {
        constexpr std::size_t sets = 3;
        // Any numbers within the limits; in some rounds only the limits themselves.
        const auto number = [&](std::int32_t limit) {
          if (round % 4 == 0) return random.below(2) == 0 ? -limit : limit;
          return static_cast<std::int32_t>(random.below(2 * static_cast<std::uint32_t>(limit) + 1)) - limit;
        };
        std::vector<std::int32_t> inputs(count), one(sets * count), steps(sets), sums_one(sets),
            sums_two(sets);
        for (std::int32_t& input : inputs) input = number(logit_limit);
        for (std::int32_t& weight : one) weight = number(mixing_weight_limit);
        for (std::int32_t& step : steps) step = number(1 << 18);
        std::vector<std::int32_t> two = one;
        std::array<std::int32_t*, sets> sets_one{}, sets_two{};
        for (std::size_t s = 0; s < sets; ++s) {
          sets_one[s] = one.data() + s * count;
          sets_two[s] = two.data() + s * count;
        }
        scalar.sum(inputs.data(), sets_one.data(), sets, count, sums_one.data());
        vector.sum(inputs.data(), sets_two.data(), sets, count, sums_two.data());
        ASSERT_EQ(sums_one, sums_two) << hwy::TargetName(target);
        scalar.learn(inputs.data(), sets_one.data(), sets, count, steps.data());
        vector.learn(inputs.data(), sets_two.data(), sets, count, steps.data());
        ASSERT_EQ(one, two) << hwy::TargetName(target);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace laconic
