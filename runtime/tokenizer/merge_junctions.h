// Pairs of characters at which pieces may merge: the last one of a left part and the first one of a right
// part. Where no merge has the pair, none ever crosses the place, so a long text falls into short parts that
// merge by themselves.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "runtime/tokenizer/pair_merging.h"

namespace laconic {

class MergeJunctions {
 public:
  // Of a merge of two pieces. Neither may be empty.
  void add(std::string_view left, std::string_view right) { pairs_.insert(pair(left, right)); }
  // Of every way to cut one piece in two.
  void add_all_of(std::string_view piece);
  bool has(std::string_view left, std::string_view right) const { return pairs_.contains(pair(left, right)); }

 private:
  static std::uint64_t pair(std::string_view left, std::string_view right);
  std::unordered_set<std::uint64_t> pairs_;
};

// merge_pairs on every longest run of symbols whose neighbours `may_join(left, right)`.
template <class MayJoin, class Rule>
void merge_pairs_in_parts(std::vector<MergeSymbol>& symbols, MayJoin&& may_join, Rule&& rule) {
  std::vector<MergeSymbol> merged, part;
  merged.reserve(symbols.size());
  for (std::size_t begin = 0; begin < symbols.size();) {
    std::size_t end = begin + 1;
    while (end < symbols.size() && may_join(symbols[end - 1], symbols[end])) ++end;
    part.assign(symbols.begin() + static_cast<std::ptrdiff_t>(begin),
                symbols.begin() + static_cast<std::ptrdiff_t>(end));
    merge_pairs(part, rule);
    merged.insert(merged.end(), part.begin(), part.end());
    begin = end;
  }
  symbols = std::move(merged);
}

}  // namespace laconic
