#include "runtime/cache/prefix_caches.h"

#include <algorithm>
#include <unordered_set>

#include "engine/base/error.h"

namespace laconic {

std::uint64_t bytes_together(std::span<const KvCache* const> caches) {
  std::unordered_set<const KvBlock*> seen;
  std::uint64_t sum = 0;
  for (const KvCache* cache : caches) {
    sum += cache->bytes().total();
    for (std::int64_t layer = 0; layer < cache->shape().layers; ++layer) {
      for (const BlockRef& ref : cache->layer(layer).blocks) {
        if (!seen.insert(ref.block.get()).second) sum -= ref.block->bytes().total();
      }
    }
  }
  return sum;
}

std::uint64_t PrefixCaches::bytes() const {
  std::vector<const KvCache*> caches;
  for (const Entry& entry : entries_) caches.push_back(entry.cache.get());
  return bytes_together(caches);
}

void PrefixCaches::keep(std::span<const std::int32_t> tokens, const KvCache& cache) {
  const auto length = static_cast<std::size_t>(cache.length());
  require(length <= tokens.size(), "the tokens of a kept cache are known");
  if (length == 0) return;
  const std::span<const std::int32_t> held = tokens.first(length);
  entries_.remove_if([&](const Entry& entry) { return std::ranges::equal(entry.tokens, held); });
  entries_.push_front({{held.begin(), held.end()}, cache.fork()});
  while (!entries_.empty() && bytes() > capacity_) entries_.pop_back();
}

std::unique_ptr<KvCache> PrefixCaches::find(std::span<const std::int32_t> tokens) {
  auto best = entries_.end();
  std::size_t longest = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    const std::size_t most =
        std::min(entry->tokens.size(), tokens.size() - std::min<std::size_t>(1, tokens.size()));
    std::size_t common = 0;
    while (common < most && entry->tokens[common] == tokens[common]) ++common;
    if (common <= longest) continue;
    if (common < entry->tokens.size() && !entry->cache->can_truncate(static_cast<std::int64_t>(common)))
      continue;
    longest = common;
    best = entry;
  }
  if (best == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, best);
  std::unique_ptr<KvCache> cache = entries_.front().cache->fork();
  cache->truncate(static_cast<std::int64_t>(longest));
  return cache;
}

}  // namespace laconic
