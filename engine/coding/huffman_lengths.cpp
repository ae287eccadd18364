// Package-merge: an optimal code with lengths up to L is a cheapest choice of coins, one of each value
// 2^-1 .. 2^-L per symbol, worth one less than the number of symbols; cheapest pairs of one value become
// coins of the next.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/coding/huffman.h"

namespace laconic {

std::vector<std::uint8_t> huffman_lengths(std::span<const std::uint64_t> counts, int longest) {
  struct Coin {
    std::uint64_t weight;
    std::vector<std::uint32_t> symbols;  // each adds one bit to its symbol's length
  };
  std::vector<std::uint8_t> lengths(counts.size(), 0);
  std::vector<Coin> symbols;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] > 0) symbols.push_back(Coin{counts[s], {static_cast<std::uint32_t>(s)}});
  }
  require(symbols.size() <= (std::size_t{1} << longest), "a code of this length holds all symbols");
  if (symbols.size() == 1) lengths[symbols[0].symbols[0]] = 1;
  if (symbols.size() < 2) return lengths;
  const auto lighter = [](const Coin& a, const Coin& b) { return a.weight < b.weight; };
  std::stable_sort(symbols.begin(), symbols.end(), lighter);
  std::vector<Coin> coins = symbols;
  for (int level = 1; level < longest; ++level) {
    std::vector<Coin> packages;
    for (std::size_t i = 0; i + 2 <= coins.size(); i += 2) {
      Coin package{coins[i].weight + coins[i + 1].weight, std::move(coins[i].symbols)};
      package.symbols.insert(package.symbols.end(), coins[i + 1].symbols.begin(), coins[i + 1].symbols.end());
      packages.push_back(std::move(package));
    }
    coins.clear();
    std::merge(symbols.begin(), symbols.end(), std::make_move_iterator(packages.begin()),
               std::make_move_iterator(packages.end()), std::back_inserter(coins), lighter);
  }
  for (std::size_t i = 0; i < 2 * symbols.size() - 2; ++i) {
    for (const std::uint32_t s : coins[i].symbols) ++lengths[s];
  }
  return lengths;
}

}  // namespace laconic
