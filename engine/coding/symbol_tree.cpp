#include "engine/coding/symbol_tree.h"

#include <algorithm>
#include <array>
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

// Canonical codes below `prefix`: shorter first, equal lengths by symbol, counted up from 0.
void SymbolTree::add_codes(std::span<const std::uint64_t> counts, Path prefix) {
  const std::vector<std::uint8_t> lengths =
      huffman_lengths(counts, std::max(huffman_longest, static_cast<int>(std::bit_width(counts.size())) + 2));
  std::vector<std::uint32_t> order;
  for (std::uint32_t symbol = 0; symbol < counts.size(); ++symbol)
    if (lengths[symbol] > 0) order.push_back(symbol);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t symbol) { return lengths[symbol]; });
  std::uint32_t code = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0) code = (code + 1) << (lengths[order[i]] - lengths[order[i - 1]]);
    add(order[i], {prefix.bits << lengths[order[i]] | code, prefix.length + lengths[order[i]]});
  }
}

void SymbolTree::count_all(std::span<const std::uint64_t> counts) {
  require(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}) < std::uint64_t{1} << 32,
          "symbols of a tree, counted, are fewer than 2^32");
  shares_.resize(nodes_.size());
  for (std::uint32_t symbol = 0; symbol < counts.size(); ++symbol)
    if (counts[symbol] > 0) count(paths_[symbol], static_cast<std::uint32_t>(counts[symbol]));
}

SymbolTree SymbolTree::by_counts(std::span<const std::uint64_t> counts) {
  SymbolTree tree;
  tree.paths_.resize(counts.size());
  tree.add_codes(counts, {});
  tree.count_all(counts);
  return tree;
}

SymbolTree SymbolTree::by_kinds(std::span<const std::uint64_t> counts, const std::vector<bool>& second_kind) {
  require(counts.size() == second_kind.size(), "every symbol has a kind");
  std::array<std::vector<std::uint64_t>, 2> of_kind;
  std::array<bool, 2> occurs{};
  for (std::vector<std::uint64_t>& one : of_kind) one.resize(counts.size());
  for (std::size_t symbol = 0; symbol < counts.size(); ++symbol) {
    const std::size_t kind = second_kind[symbol] ? 1 : 0;
    of_kind[kind][symbol] = counts[symbol];
    occurs[kind] = occurs[kind] || counts[symbol] > 0;
  }
  if (!occurs[0] || !occurs[1]) return by_counts(counts);
  SymbolTree tree;
  tree.paths_.resize(counts.size());
  tree.second_kind_ = second_kind;
  tree.add_codes(of_kind[0], {0, 1});
  tree.add_codes(of_kind[1], {1, 1});
  tree.count_all(counts);
  return tree;
}

}  // namespace laconic
