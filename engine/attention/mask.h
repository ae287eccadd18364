// Which keys a query sees. Query i stands at position first_query + i, key j at position j; both ends of what
// a query sees only move forward from one query to the next, which every schedule relies on.
#pragma once

#include <algorithm>
#include <cstdint>

namespace laconic {

// Half open; empty when end <= begin.
struct IndexRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return std::max<std::int64_t>(0, end - begin); }
  bool operator==(const IndexRange&) const = default;
};

struct AttentionMask {
  bool causal = false;  // no key after the query's position
  std::int64_t first_query =
      0;                    // position of query 0; below zero, the first queries of a causal mask see nothing
  std::int64_t window = 0;  // > 0: only keys after the query's position - window

  // Of `keys` keys, those that the query sees.
  IndexRange keys_of(std::int64_t query, std::int64_t keys) const {
    const std::int64_t position = first_query + query;
    const std::int64_t end = causal ? std::clamp<std::int64_t>(position + 1, 0, keys) : keys;
    const std::int64_t begin = window > 0 ? std::clamp<std::int64_t>(position - window + 1, 0, end) : 0;
    return {begin, end};
  }

  // Of `queries` queries, those that see at least one of the keys [first, last).
  IndexRange queries_of(IndexRange range, std::int64_t queries) const {
    if (range.size() == 0) return {};
    const std::int64_t begin = causal ? std::clamp<std::int64_t>(range.begin - first_query, 0, queries) : 0;
    const std::int64_t end =
        window > 0 ? std::clamp<std::int64_t>(range.end - 1 + window - first_query, begin, queries) : queries;
    return {begin, end};
  }
};

}  // namespace laconic
