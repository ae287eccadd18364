// The coders of bytes: rANS, Huffman, zstd and LZMA behind one form.
#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/frequency_table.h"
#include "engine/coding/huffman.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/lzma_bytes.h"
#include "engine/coding/normalise.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

struct Coder {
  const char* name;
  Bytes (*compress)(ByteSpan);
  void (*expand)(ByteSpan, std::span<std::byte>, std::string_view);
};

const Coder coders[] = {
    {"rans", rans_compress, rans_expand},
    {"rans scalar", rans_compress, rans_expand_scalar},
    {"huffman", huffman_compress, huffman_expand},
    {"zstd", [](ByteSpan bytes) { return zstd_compress(bytes); }, zstd_expand},
    {"lzma", [](ByteSpan bytes) { return lzma_compress(bytes, {.preset = 1, .extreme = false}); },
     lzma_expand},
};

// Kinds: one value, two values, skewed, bell, all values alike, only high bytes.
constexpr int kinds = 6;
Bytes sample(int kind, std::size_t size) {
  const RandomStream random(4, "test", "bytes", static_cast<std::uint64_t>(kind));
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint32_t bits = random.bits_at(i);
    unsigned value = 0;
    if (kind == 0) value = 77;
    if (kind == 1) value = bits % 1000 == 0 ? 255 : 0;
    if (kind == 2) value = static_cast<unsigned>(std::countr_zero(bits | 1u << 30));
    if (kind == 3) value = static_cast<unsigned>(std::clamp(128 + 20 * random.gaussian_at(i), 0.0f, 255.0f));
    if (kind == 4) value = bits & 255;
    if (kind == 5) value = 250 + bits % 5;
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

double entropy_bits(ByteSpan bytes) {
  std::array<double, 256> counts{};
  for (const std::byte byte : bytes) ++counts[static_cast<std::size_t>(byte)];
  double bits = 0;
  for (const double count : counts) {
    if (count > 0) bits -= count * std::log2(count / static_cast<double>(bytes.size()));
  }
  return bits;
}

constexpr std::size_t sizes[] = {0,    1,    2,    3,    5,    31,    32,    33,    127,   1000,
                                 4095, 4096, 4097, 4101, 9999, 65535, 65536, 65537, 70001, 300000};

TEST(ByteCoders, RoundTripOnEveryTarget) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const Coder& coder : coders) {
      for (int kind = 0; kind < kinds; ++kind) {
        for (const std::size_t size : sizes) {
          SCOPED_TRACE(std::string(coder.name) + " kind " + std::to_string(kind) + " size " +
                       std::to_string(size) + " " + hwy::TargetName(target));
          const Bytes bytes = sample(kind, size);
          const Bytes coded = coder.compress(bytes);
          Bytes back(size, std::byte{0xEE});
          coder.expand(coded, back, "test");
          ASSERT_TRUE(back == bytes);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// The worst a table may do to the kernels: frequencies 1 beside 65535, in either order.
TEST(ByteCoders, ExtremeFrequenciesRoundTripOnEveryTarget) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const bool high : {false, true}) {
      Bytes bytes(200000, std::byte{high ? std::uint8_t{255} : std::uint8_t{0}});
      for (std::size_t i : {0, 31, 32, 77777, 199999}) bytes[i] = std::byte{3};
      for (const Coder& coder : coders) {
        Bytes back(bytes.size());
        coder.expand(coder.compress(bytes), back, "test");
        ASSERT_TRUE(back == bytes) << coder.name << hwy::TargetName(target);
      }
    }
    // Rare symbols in a row: every lane needs a word in every round.
    Bytes bytes = sample(0, 100000);
    for (std::size_t i = 50000; i < 51000; ++i) bytes[i] = static_cast<std::byte>(i % 76);
    for (const Coder& coder : coders) {
      Bytes back(bytes.size());
      coder.expand(coder.compress(bytes), back, "test");
      ASSERT_TRUE(back == bytes) << coder.name << hwy::TargetName(target);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ByteCoders, SizesAreNearTheEntropy) {
  for (const int kind : {2, 3, 4, 5}) {
    for (const std::size_t size : {std::size_t{3000}, std::size_t{60000}, std::size_t{300000}}) {
      const Bytes bytes = sample(kind, size);
      const double ideal = entropy_bits(bytes) / 8;
      const double rans = static_cast<double>(rans_compress(bytes).size());
      const double huffman = static_cast<double>(huffman_compress(bytes).size());
      const double table = kind == 2 || kind == 5 ? 40 : 300;
      EXPECT_LE(rans, 1.003 * ideal + 132 + table) << kind << ' ' << size;
      EXPECT_LE(huffman, 1.04 * ideal + 12 + 130) << kind << ' ' << size;
      EXPECT_GE(rans, ideal - 1);
      EXPECT_GE(huffman, ideal);
    }
  }
  EXPECT_LE(rans_compress(sample(0, 300000)).size(), 16u);
  EXPECT_LE(huffman_compress(sample(0, 300000)).size(), 42u);
}

TEST(ByteCoders, DamageIsRefusedOrDecodesWithinBounds) {
  for (const Coder& coder : coders) {
    for (const std::size_t size : {std::size_t{40}, std::size_t{5000}, std::size_t{70000}}) {
      const Bytes bytes = sample(2, size);
      const Bytes coded = coder.compress(bytes);
      RandomStream random(5, "test", "damage");
      int refused = 0;
      const auto attempt = [&](ByteSpan damaged, std::size_t wanted) {
        Bytes out(wanted);
        try {
          coder.expand(damaged, out, "test");
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
          ++refused;
        }
      };
      for (int round = 0; round < 300; ++round) {
        Bytes damaged = coded;
        const auto at = random.below(static_cast<std::uint32_t>(
            round % 2 == 0 ? std::min<std::size_t>(40, coded.size()) : coded.size()));
        damaged[at] ^= static_cast<std::byte>(1u << random.below(8));
        attempt(damaged, size);
      }
      // Cut, prolonged, and of another size.
      const int before = refused;
      for (int round = 0; round < 100; ++round) {
        attempt(ByteSpan(coded).first(random.below(static_cast<std::uint32_t>(coded.size()))), size);
      }
      Bytes longer = coded;
      longer.push_back(std::byte{0});
      attempt(longer, size);
      EXPECT_EQ(refused, before + 101) << coder.name << ' ' << size;
      attempt(coded, size + 1);
      attempt(coded, size - 1);
      attempt(coded, 0);
      EXPECT_GE(refused, before + 102) << coder.name << ' ' << size;
    }
  }
}

TEST(FrequencyTable, StoredFormIsLossless) {
  RandomStream random(6, "test", "tables");
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> counts(1 + random.below(500));
    for (std::uint64_t& count : counts)
      count = random.below(3) == 0 ? 0 : random.below(1u << random.below(20));
    counts.back() += 1;
    const auto frequencies = normalise(counts, frequency_total);
    BitWriter writer;
    put_frequencies(writer, frequencies);
    const Bytes stored = writer.take();
    BitReader reader(stored, "test");
    EXPECT_EQ(read_frequencies(reader, 500), frequencies);
    reader.expect_end();

    const FittedFrequencies fitted = fit_frequencies(counts);
    BitReader again(fitted.stored, "test");
    EXPECT_EQ(read_frequencies(again, 500), fitted.frequencies);
    again.expect_end();
    BitReader bounded(fitted.stored, "test");
    if (fitted.frequencies.size() > 1) {
      EXPECT_THROW(read_frequencies(bounded, fitted.frequencies.size() - 1), Error);
    }
  }
}

TEST(FrequencyTable, SlotsAndDivisionAreExact) {
  std::vector<std::uint32_t> frequencies = {1, 0, 3, 40000, 255, 256, 25021};
  std::uint32_t sum = 0;
  for (const std::uint32_t f : frequencies) sum += f;
  ASSERT_EQ(sum, frequency_total);
  const FrequencyTable table(frequencies);
  for (std::uint32_t slot = 0; slot < frequency_total; ++slot) {
    const std::size_t symbol = table.symbol_at(slot);
    ASSERT_LE(table.cumulative(symbol), slot);
    ASSERT_LT(slot, table.cumulative(symbol) + table.frequency(symbol));
  }
  for (std::size_t symbol : {0u, 2u, 3u, 4u, 5u, 6u}) {
    const std::uint32_t f = table.frequency(symbol);
    const std::uint64_t most = (std::uint64_t{f} << 16) - 1;
    RandomStream random(7, "test", "divide");
    for (int i = 0; i < 20000; ++i) {
      // Around multiples of f, where a wrong quotient would show, and at the end of the range.
      const std::uint64_t near = std::uint64_t{f} * random.below(1u << 16) + random.below(3) - 1;
      const auto x = static_cast<std::uint32_t>(std::min(most, i == 0 ? most : near > most ? 0 : near));
      ASSERT_EQ(table.divide(x, symbol), x / f) << x << ' ' << f;
    }
  }
}

TEST(Huffman, LengthsAreOptimalAndLimited) {
  // Without a limit: the textbook lengths.
  const std::vector<std::uint64_t> textbook = {5, 9, 12, 13, 16, 45};
  EXPECT_EQ(huffman_lengths(textbook), (std::vector<std::uint8_t>{4, 4, 3, 3, 3, 1}));
  // Fibonacci counts want one long code each; the limit holds and the code stays complete.
  std::vector<std::uint64_t> fibonacci = {1, 1};
  while (fibonacci.size() < 40) fibonacci.push_back(fibonacci.back() + fibonacci[fibonacci.size() - 2]);
  for (const int longest : {6, 8, 12}) {
    const auto lengths = huffman_lengths(fibonacci, longest);
    double kraft = 0;
    for (const std::uint8_t length : lengths) {
      EXPECT_LE(length, longest);
      kraft += std::ldexp(1.0, -length);
    }
    EXPECT_EQ(kraft, 1.0);
  }
  // Limit 2 leaves only the flat code for four symbols; limit 3 the unbalanced one.
  const std::vector<std::uint64_t> four = {1, 2, 4, 8};
  EXPECT_EQ(huffman_lengths(four, 2), (std::vector<std::uint8_t>{2, 2, 2, 2}));
  EXPECT_EQ(huffman_lengths(four, 3), (std::vector<std::uint8_t>{3, 3, 2, 1}));
  EXPECT_EQ(huffman_lengths(std::vector<std::uint64_t>{0, 3, 0}), (std::vector<std::uint8_t>{0, 1, 0}));
}

}  // namespace
}  // namespace laconic
