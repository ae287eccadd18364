#include "engine/coding/symbol_mixing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

Bytes coded(const SymbolTree& tree, const std::vector<std::uint32_t>& symbols) {
  SymbolMixingEncoder encoder(tree, symbols.size());
  for (const std::uint32_t symbol : symbols) encoder.put(symbol, symbol);
  return encoder.take();
}

std::vector<std::uint32_t> decoded(const SymbolTree& tree, ByteSpan bytes, std::size_t count) {
  SymbolMixingDecoder decoder(tree, count, bytes, "test");
  std::vector<std::uint32_t> symbols(count);
  for (std::uint32_t& symbol : symbols) decoder.stands_for(symbol = decoder.take());
  decoder.expect_end();
  return symbols;
}

std::vector<std::uint32_t> skewed_symbols(std::size_t count, std::uint32_t kinds) {
  RandomStream random(4, "test", "symbols");
  std::vector<std::uint32_t> symbols(count);
  for (std::uint32_t& symbol : symbols) symbol = random.below(1 + random.below(kinds));
  return symbols;
}

std::vector<std::uint64_t> counts_of(const std::vector<std::uint32_t>& symbols, std::uint32_t kinds) {
  std::vector<std::uint64_t> counts(kinds);
  for (const std::uint32_t symbol : symbols) ++counts[symbol];
  return counts;
}

TEST(SymbolTree, FrequentSymbolsAreNearTheRoot) {
  const SymbolTree tree = SymbolTree::by_counts(std::vector<std::uint64_t>{1, 8, 0, 2, 1});
  EXPECT_EQ(tree.path_to(1).length, 1u);
  EXPECT_EQ(tree.path_to(3).length, 2u);
  EXPECT_EQ(tree.path_to(0).length, 3u);
  EXPECT_EQ(tree.path_to(4).length, 3u);
  EXPECT_EQ(tree.longest(), 3u);
  // Every path leads where it says.
  for (const std::uint32_t symbol : {0u, 1u, 3u, 4u}) {
    const SymbolTree::Path path = tree.path_to(symbol);
    std::uint32_t node = 0;
    for (std::uint32_t i = path.length; i-- > 0;) node = tree.next(node, (path.bits >> i & 1) != 0);
    EXPECT_EQ(node, SymbolTree::leaf_bit | symbol);
  }
  ASSERT_EQ(tree.shares().size(), 3u);
  EXPECT_EQ(tree.shares()[0].no, 8u);
  EXPECT_EQ(tree.shares()[0].yes, 4u);
  EXPECT_TRUE(SymbolTree::even(2).shares().empty());
  // One symbol alone: the other answer leads nowhere.
  const SymbolTree single = SymbolTree::by_counts(std::vector<std::uint64_t>{0, 5});
  EXPECT_EQ(single.next(0, false), SymbolTree::leaf_bit | 1);
  EXPECT_EQ(single.next(0, true), SymbolTree::none);
}

TEST(SymbolMixing, SymbolsComeBack) {
  for (const std::uint32_t kinds : {2u, 5u, 300u}) {
    const std::vector<std::uint32_t> symbols = skewed_symbols(5000, kinds);
    for (const SymbolTree& tree : {SymbolTree::even(9), SymbolTree::by_counts(counts_of(symbols, kinds))})
      EXPECT_EQ(decoded(tree, coded(tree, symbols), symbols.size()), symbols) << kinds;
  }
}

TEST(SymbolMixing, ChanceCostsItsEntropyAndOrderNext) {
  const std::vector<std::uint32_t> symbols = skewed_symbols(20000, 40);
  double bits = 0;
  const std::vector<std::uint64_t> counts = counts_of(symbols, 40);
  for (const std::uint64_t count : counts)
    if (count > 0) bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / 20000.0);
  const SymbolTree tree = SymbolTree::by_counts(counts);
  EXPECT_LT(static_cast<double>(coded(tree, symbols).size()), 1.06 * bits / 8);
  std::vector<std::uint32_t> cycle;
  for (std::uint32_t i = 0; i < 20000; ++i) cycle.push_back(i * i % 7);
  EXPECT_LT(coded(SymbolTree::even(6), cycle).size(), 300u);
}

TEST(SymbolTree, KindsAreToldFirst) {
  const std::vector<std::uint64_t> counts = {5, 3, 0, 9, 1};
  const std::vector<bool> kinds = {false, true, true, false, true};
  const SymbolTree tree = SymbolTree::by_kinds(counts, kinds);
  for (std::uint32_t symbol : {0u, 1u, 3u, 4u}) {
    const SymbolTree::Path path = tree.path_to(symbol);
    EXPECT_EQ(path.length, 2u);
    EXPECT_EQ((path.bits >> 1) == 1, kinds[symbol]);
    EXPECT_EQ(tree.is_second_kind(symbol), kinds[symbol]);
  }
  EXPECT_EQ(tree.shares()[0].no, 14u);
  EXPECT_EQ(tree.shares()[0].yes, 4u);
  // One kind alone is not told.
  EXPECT_EQ(SymbolTree::by_kinds(counts, std::vector<bool>(5, true)).path_to(3).length, 1u);
  EXPECT_FALSE(SymbolTree::by_kinds(counts, std::vector<bool>(5, true)).is_second_kind(3));
}

// Symbols by chance in runs of two kinds: the kinds cost little more than where runs end.
TEST(SymbolMixing, RunsOfAKindAreForeseen) {
  RandomStream random(6, "test", "kinds");
  std::vector<std::uint32_t> symbols;
  while (symbols.size() < 16'000) {
    const std::uint32_t first = symbols.size() / 20 % 2 * 64;
    symbols.push_back(first + random.below(64));
  }
  std::vector<bool> kinds(128);
  for (std::size_t symbol = 64; symbol < 128; ++symbol) kinds[symbol] = true;
  const std::vector<std::uint64_t> counts = counts_of(symbols, 128);
  const SymbolTree tree = SymbolTree::by_kinds(counts, kinds);
  const Bytes bytes = coded(tree, symbols);
  EXPECT_EQ(decoded(tree, bytes, symbols.size()), symbols);
  EXPECT_LT(bytes.size(), 16'000u * 6 / 8 + 16'000u / 16);  // half a bit for the kind
  EXPECT_GT(coded(SymbolTree::by_counts(counts), symbols).size(), bytes.size());
}

// An answer of which only one is left costs nothing, and no symbol comes once more than it was counted.
TEST(SymbolMixing, CountsAreUsedUp) {
  const SymbolTree tree = SymbolTree::by_counts(std::vector<std::uint64_t>{0, 3, 1});
  EXPECT_LE(coded(tree, {1, 1, 1, 2}).size(), 1u);
  EXPECT_LE(coded(tree, {2, 1, 1, 1}).size(), 1u);
  EXPECT_TRUE(
      coded(SymbolTree::by_counts(std::vector<std::uint64_t>{0, 500}), std::vector<std::uint32_t>(500, 1))
          .empty());
  EXPECT_THROW(coded(tree, {2, 2}), Error);
  EXPECT_THROW(coded(tree, {0}), Error);
  EXPECT_THROW(decoded(tree, coded(tree, {1, 1, 1, 2}), 5), Error);
}

TEST(SymbolMixing, DamageGivesOtherSymbolsOrAnError) {
  const std::vector<std::uint32_t> symbols = skewed_symbols(600, 5);
  const SymbolTree tree =
      SymbolTree::by_counts(std::vector<std::uint64_t>{0, 5});  // half of it leads nowhere
  const SymbolTree full = SymbolTree::even(3);
  const Bytes bytes = coded(full, symbols);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= std::byte{1} << bit % 8;
    for (const SymbolTree* one : {&full, &tree}) {
      try {
        for (const std::uint32_t symbol : decoded(*one, damaged, symbols.size())) ASSERT_LT(symbol, 8u);
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::corrupt);
      }
    }
  }
}

}  // namespace
}  // namespace laconic
