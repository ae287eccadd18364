#include "engine/coding/rans_symbols.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/normalise.h"

namespace laconic {
namespace {

// Discretised Gaussians of growing width, as models with a scale per element use them; the last symbol is the
// escape.
std::vector<IntegerTable> gaussian_tables(int count) {
  std::vector<IntegerTable> tables;
  for (int t = 0; t < count; ++t) {
    const double scale = 0.2 * std::pow(1.6, t);
    const int reach = 1 + static_cast<int>(3 * scale);
    std::vector<double> pmf;
    double sum = 1e-4;
    for (int v = -reach; v <= reach; ++v) {
      pmf.push_back(std::exp(-0.5 * v * v / (scale * scale)));
      sum += pmf.back();
    }
    pmf.push_back(1e-4);
    for (double& p : pmf) p /= sum;
    tables.push_back(
        {FrequencyTable(normalise(pmf, frequency_total, NormalisePolicy::steal_smallest)), -reach});
  }
  return tables;
}

TEST(RansSymbols, EachSymbolHasItsTable) {
  const std::vector<std::vector<std::uint32_t>> frequencies = {
      {65536}, {1, 65535}, {16384, 0, 49152}, std::vector<std::uint32_t>(4096, 16)};
  std::vector<FrequencyTable> tables;
  for (const auto& f : frequencies) tables.emplace_back(f);
  for (const std::size_t count : {0, 1, 2, 100, 4096, 5000, 70000}) {
    RandomStream random(1, "test", "symbols", count);
    std::vector<std::uint16_t> symbols(count), table_of(count), back(count);
    double bits = 0;
    for (std::size_t i = 0; i < count; ++i) {
      table_of[i] = static_cast<std::uint16_t>(random.below(4));
      const FrequencyTable& table = tables[table_of[i]];
      symbols[i] = static_cast<std::uint16_t>(table.symbol_at(random.below(65536)));
      bits += 16 - std::log2(table.frequency(symbols[i]));
    }
    const Bytes coded = rans_encode_symbols(symbols, tables, table_of);
    EXPECT_LE(static_cast<double>(coded.size()), 1.005 * bits / 8 + 4.0 * (count < 4096 ? 2 : 32));
    rans_decode_symbols(coded, tables, table_of, back, "test");
    ASSERT_EQ(back, symbols);
  }
  const std::vector<std::uint16_t> absent = {0, 2, 1};
  EXPECT_THROW(rans_encode_symbols(absent, std::span(tables).subspan(2, 1), {}), Error);
  const std::vector<std::uint16_t> beyond = {3};
  EXPECT_THROW(rans_encode_symbols(beyond, std::span(tables).subspan(2, 1), {}), Error);
}

// Card 19: identity on a million symbols with escapes of +-2^20; bytes at most 1.005 of the ideal plus 8.
TEST(RansSymbols, MillionIntegersWithEscapes) {
  const std::vector<IntegerTable> tables = gaussian_tables(8);
  constexpr std::size_t count = 1000000;
  RandomStream random(2, "test", "integers");
  std::vector<std::int32_t> values(count), back(count);
  std::vector<std::uint16_t> table_of(count);
  double bits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    table_of[i] = static_cast<std::uint16_t>(random.below(8));
    const IntegerTable& table = tables[table_of[i]];
    const std::size_t symbol = table.table.symbol_at(random.below(65536));
    bits += 16 - std::log2(table.table.frequency(symbol));
    values[i] = table.lowest + static_cast<std::int32_t>(symbol);
    const auto inside = static_cast<std::int32_t>(table.table.symbols()) - 1;
    if (symbol + 1 == table.table.symbols()) {
      const std::int32_t excess = 1 + static_cast<std::int32_t>(random.below(1 << 20));
      const bool above = random.below(2) == 0;
      values[i] = above ? table.lowest + inside - 1 + excess : table.lowest - excess;
      bits += 2 * std::floor(std::log2(above ? 2.0 * excess : 2.0 * excess - 1)) + 1;
    }
  }
  const Bytes coded = rans_encode_integers(values, tables, table_of);
  EXPECT_LE(static_cast<double>(coded.size()), 1.005 * bits / 8 + 8);
  rans_decode_integers(coded, tables, table_of, back, "test");
  EXPECT_EQ(back, values);
}

TEST(RansSymbols, ExtremeIntegers) {
  const std::vector<IntegerTable> tables = gaussian_tables(1);
  const std::vector<std::int32_t> values = {0, 1 << 30, -(1 << 30), 1, -1, 2, -2, 1 << 20, -(1 << 20)};
  std::vector<std::int32_t> back(values.size());
  rans_decode_integers(rans_encode_integers(values, tables, {}), tables, {}, back, "test");
  EXPECT_EQ(back, values);
  const std::vector<std::int32_t> beyond = {(1 << 30) + 1};
  EXPECT_THROW(rans_encode_integers(beyond, tables, {}), Error);
}

TEST(RansSymbols, DamageIsRefusedOrDecodesWithinBounds) {
  const std::vector<IntegerTable> tables = gaussian_tables(3);
  RandomStream random(3, "test", "damage");
  std::vector<std::int32_t> values(6000), back(6000);
  for (std::int32_t& value : values) value = static_cast<std::int32_t>(random.below(9)) - 4;
  const Bytes coded = rans_encode_integers(values, tables, {});
  int cut_refused = 0;  // a flipped bit may spell another escaped number
  for (int round = 0; round < 400; ++round) {
    Bytes damaged = coded;
    if (round < 300) {
      damaged[random.below(static_cast<std::uint32_t>(coded.size()))] ^= std::byte{4};
    } else {
      damaged.resize(random.below(static_cast<std::uint32_t>(coded.size())));
    }
    try {
      rans_decode_integers(damaged, tables, {}, back, "test");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      cut_refused += round >= 300;
    }
  }
  EXPECT_EQ(cut_refused, 100);
}

}  // namespace
}  // namespace laconic
