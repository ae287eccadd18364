#include "engine/coding/symbol_tree.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "engine/base/error.h"
#include "engine/coding/huffman.h"

namespace laconic {

void SymbolTree::add(std::uint32_t symbol, Path path) {
  std::uint32_t node = 0;
  for (std::uint32_t depth = 0; depth + 1 < path.length; ++depth) {
    const std::uint32_t answer = path.bits >> (path.length - 1 - depth) & 1;
    if (nodes_[node].next[answer] == none) {
      nodes_[node].next[answer] = static_cast<std::uint32_t>(nodes_.size());
      nodes_.emplace_back();
    }
    node = nodes_[node].next[answer];
  }
  nodes_[node].next[path.bits & 1] = leaf_bit | symbol;
  paths_[symbol] = path;
  longest_ = std::max(longest_, path.length);
}

void SymbolTree::count(Path path, std::uint32_t times) {
  std::uint32_t node = 0;
  for (std::uint32_t i = path.length; i-- > 0;) {
    const bool yes = (path.bits >> i & 1) != 0;
    (yes ? shares_[node].yes : shares_[node].no) += times;
    node = next(node, yes);
  }
}

SymbolTree SymbolTree::even(int depth) {
  SymbolTree tree;
  const auto symbols = std::uint32_t{1} << depth;
  tree.paths_.resize(symbols);
  for (std::uint32_t symbol = 0; symbol < symbols; ++symbol)
    tree.add(symbol, {symbol, static_cast<std::uint32_t>(depth)});
  return tree;
}

// Canonical codes: shorter first, equal lengths by symbol, counted up from 0.
SymbolTree SymbolTree::by_counts(std::span<const std::uint64_t> counts) {
  require(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}) < std::uint64_t{1} << 32,
          "symbols of a tree, counted, are fewer than 2^32");
  SymbolTree tree;
  tree.paths_.resize(counts.size());
  const std::vector<std::uint8_t> lengths =
      huffman_lengths(counts, std::max(huffman_longest, static_cast<int>(std::bit_width(counts.size())) + 2));
  std::vector<std::uint32_t> order;
  for (std::uint32_t symbol = 0; symbol < counts.size(); ++symbol)
    if (lengths[symbol] > 0) order.push_back(symbol);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t symbol) { return lengths[symbol]; });
  std::uint32_t code = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0) code = (code + 1) << (lengths[order[i]] - lengths[order[i - 1]]);
    tree.add(order[i], {code, lengths[order[i]]});
  }
  tree.shares_.resize(tree.nodes_.size());
  for (const std::uint32_t symbol : order)
    tree.count(tree.paths_[symbol], static_cast<std::uint32_t>(counts[symbol]));
  return tree;
}

}  // namespace laconic
