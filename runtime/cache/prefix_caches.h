// Caches of prompts that were seen before: a request that starts with the same tokens goes on from a fork
// instead of computing them again. Sequences that share a prefix share its blocks, in memory and in the
// count.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cache/kv_cache.h"

namespace laconic {

// Serialised bytes of several sequences, each shared block counted once.
std::uint64_t bytes_together(std::span<const KvCache* const> caches);

class PrefixCaches {
 public:
  // Keeps sequences up to `capacity` bytes together; the one that was used least recently goes first.
  explicit PrefixCaches(std::uint64_t capacity) : capacity_(capacity) {}

  // Keeps what `cache` holds of `tokens` (their first cache.length()).
  void keep(std::span<const std::int32_t> tokens, const KvCache& cache);
  // A sequence that holds the longest kept prefix of `tokens`, at most all but the last of them (whose logits
  // are wanted); null when there is none. Caches that cannot go back to an earlier length serve only prefixes
  // that they hold exactly.
  std::unique_ptr<KvCache> find(std::span<const std::int32_t> tokens);

  std::size_t sequences() const { return entries_.size(); }
  std::uint64_t bytes() const;

 private:
  struct Entry {
    std::vector<std::int32_t> tokens;
    std::unique_ptr<KvCache> cache;
  };
  std::uint64_t capacity_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace laconic
