// A binary tree whose leaves are symbols: which yes-or-no questions an adaptive coder asks for one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

class SymbolTree {
 public:
  // All symbols below 2^depth, every one at that depth.
  static SymbolTree even(int depth);
  // A Huffman tree (engine/coding/huffman.h): frequent symbols are near the root, those that do not occur are
  // left out. Requires a count that is not 0, and that their sum is below 2^32.
  static SymbolTree by_counts(std::span<const std::uint64_t> counts);
  // The same for each of two kinds of symbols, below a first answer that tells the kind, where both occur.
  // second_kind[symbol]: whether a symbol is of the second one, as are those behind a yes.
  static SymbolTree by_kinds(std::span<const std::uint64_t> counts, const std::vector<bool>& second_kind);

  struct Path {
    std::uint32_t bits = 0;  // the first question's answer is the highest
    std::uint32_t length = 0;
  };
  Path path_to(std::uint32_t symbol) const { return paths_[symbol]; }
  std::uint32_t longest() const { return longest_; }
  bool is_second_kind(std::uint32_t symbol) const {
    return symbol < second_kind_.size() && second_kind_[symbol];
  }

  // How many of the symbols that were counted lie behind each answer, by node; nothing of an even tree.
  struct Shares {
    std::uint32_t no = 0, yes = 0;
  };
  std::span<const Shares> shares() const { return shares_; }

  // From node 0 on: a node, or a leaf, or `none` where no symbol is.
  static constexpr std::uint32_t none = 0xffffffff, leaf_bit = 0x80000000;
  std::uint32_t next(std::uint32_t node, bool answer) const { return nodes_[node].next[answer ? 1 : 0]; }

 private:
  struct Node {
    std::uint32_t next[2] = {none, none};
  };
  void add(std::uint32_t symbol, Path path);
  void add_codes(std::span<const std::uint64_t> counts, Path prefix);
  void count_all(std::span<const std::uint64_t> counts);
  void count(Path path, std::uint32_t times);

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<Shares> shares_;
  std::vector<Path> paths_;
  std::vector<bool> second_kind_;
  std::uint32_t longest_ = 0;
};

}  // namespace laconic
