// Greedy pair merging, the encoding step of every BPE: of all neighbours that may merge, the best pair merges
// first, the leftmost of equals; repeat. A heap over a linked list: O(n log n) for n initial symbols.
// Source: Sennrich, Haddow, Birch 2016, "Neural machine translation of rare words with subword units".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace laconic {

struct MergeSymbol {
  std::size_t begin = 0, end = 0;  // span of the text
  std::int32_t id = -1;
  bool frozen = false;  // takes part in no merge
};

struct MergeCandidate {
  double priority = 0;  // lower merges first
  std::int32_t id = -1;
};

// `rule(left, right) -> std::optional<MergeCandidate>` says whether two neighbours may merge and into what.
// Merges in place; what remains is in text order. At most 2^32 - 2 symbols.
template <class Rule>
void merge_pairs(std::vector<MergeSymbol>& symbols, Rule&& rule) {
  struct Entry {
    double priority;
    std::uint32_t left;
    std::uint32_t right;
    std::size_t end;  // of the right symbol when this entry was made: it has merged since if this differs
    std::int32_t id;
  };
  const auto later = [](const Entry& a, const Entry& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.left > b.left;
  };
  if (symbols.size() < 2) return;
  constexpr std::uint32_t none = 0xFFFFFFFF;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  std::vector<std::uint32_t> next(count), previous(count);
  std::vector<bool> gone(count, false);
  std::vector<Entry> entries;
  const auto candidate = [&](std::uint32_t left, std::uint32_t right) -> std::optional<Entry> {
    if (symbols[left].frozen || symbols[right].frozen) return std::nullopt;
    const std::optional<MergeCandidate> found = rule(symbols[left], symbols[right]);
    if (!found) return std::nullopt;
    return Entry{found->priority, left, right, symbols[right].end, found->id};
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : none;
    previous[i] = i > 0 ? i - 1 : none;
    if (i + 1 < count) {
      if (const auto entry = candidate(i, i + 1)) entries.push_back(*entry);
    }
  }
  std::priority_queue<Entry, std::vector<Entry>, decltype(later)> heap(later, std::move(entries));
  while (!heap.empty()) {
    const Entry entry = heap.top();
    heap.pop();
    MergeSymbol& left = symbols[entry.left];
    if (gone[entry.left] || gone[entry.right] || next[entry.left] != entry.right ||
        symbols[entry.right].end != entry.end) {
      continue;
    }
    left.end = entry.end;
    left.id = entry.id;
    gone[entry.right] = true;
    next[entry.left] = next[entry.right];
    if (next[entry.right] != none) previous[next[entry.right]] = entry.left;
    if (previous[entry.left] != none) {
      if (const auto found = candidate(previous[entry.left], entry.left)) heap.push(*found);
    }
    if (next[entry.left] != none) {
      if (const auto found = candidate(entry.left, next[entry.left])) heap.push(*found);
    }
  }
  std::size_t kept = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!gone[i]) symbols[kept++] = symbols[i];
  }
  symbols.resize(kept);
}

}  // namespace laconic
