// A set of byte strings, searched by prefix: vocabularies of unigram models, added tokens, user-defined
// symbols.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace laconic {

class ByteTrie {
 public:
  ByteTrie() = default;
  // Keys must be distinct and not empty; values must not be negative. The keys are not kept.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries);

  bool empty() const { return nodes_.size() <= 1; }

  // Calls visit(length, value) for every key that is a prefix of text[position, ...), shortest first.
  template <class Visit>
  void prefixes(std::string_view text, std::size_t position, Visit&& visit) const {
    if (nodes_.empty()) return;
    std::uint32_t node = 0;
    for (std::size_t i = position; i < text.size(); ++i) {
      node = child(node, static_cast<std::uint8_t>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) visit(i + 1 - position, nodes_[node].value);
    }
  }

  struct Match {
    std::size_t length = 0;  // 0: none
    std::int32_t value = -1;
  };
  Match longest_prefix(std::string_view text, std::size_t position) const {
    Match best;
    prefixes(text, position, [&](std::size_t length, std::int32_t value) { best = {length, value}; });
    return best;
  }

 private:
  struct Node {
    std::uint32_t first_child = 0;
    std::uint32_t child_count = 0;
    std::int32_t value = -1;
  };
  std::uint32_t child(std::uint32_t node, std::uint8_t label) const;

  std::vector<Node> nodes_;           // breadth first, children of a node side by side in label order
  std::vector<std::uint8_t> labels_;  // the byte that leads to each node
  std::array<std::uint32_t, 256> root_{};
};

}  // namespace laconic
