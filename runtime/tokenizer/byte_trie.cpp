#include "runtime/tokenizer/byte_trie.h"

#include <algorithm>
#include <deque>

namespace laconic {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  std::sort(entries.begin(), entries.end());
  // A range of sorted keys that share their first `depth` bytes is one node.
  struct Range {
    std::size_t begin, end, depth;
    std::uint32_t node;
  };
  nodes_.emplace_back();
  labels_.push_back(0);
  std::deque<Range> open{{0, entries.size(), 0, 0}};
  while (!open.empty()) {
    Range range = open.front();
    open.pop_front();
    while (range.begin < range.end && entries[range.begin].first.size() == range.depth) {
      nodes_[range.node].value = entries[range.begin].second;
      ++range.begin;
    }
    nodes_[range.node].first_child = static_cast<std::uint32_t>(nodes_.size());
    for (std::size_t i = range.begin; i < range.end;) {
      const char label = entries[i].first[range.depth];
      std::size_t stop = i + 1;
      while (stop < range.end && entries[stop].first[range.depth] == label) ++stop;
      const auto node = static_cast<std::uint32_t>(nodes_.size());
      nodes_.emplace_back();
      labels_.push_back(static_cast<std::uint8_t>(label));
      ++nodes_[range.node].child_count;
      open.push_back({i, stop, range.depth + 1, node});
      if (range.node == 0) root_[static_cast<std::uint8_t>(label)] = node;
      i = stop;
    }
  }
}

std::uint32_t ByteTrie::child(std::uint32_t node, std::uint8_t label) const {
  if (node == 0) return root_[label];
  const Node& parent = nodes_[node];
  const auto begin = labels_.begin() + parent.first_child, end = begin + parent.child_count;
  const auto found = std::lower_bound(begin, end, label);  // string_view sorts bytes as unsigned
  return found == end || *found != label ? 0 : static_cast<std::uint32_t>(found - labels_.begin());
}

}  // namespace laconic
