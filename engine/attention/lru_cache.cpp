#include "engine/attention/lru_cache.h"

#include "engine/base/error.h"

namespace laconic {

LruCache::LruCache(std::int64_t words) : capacity_(words) { require(words >= 1, "a cache holds a word"); }

void LruCache::unlink(std::int64_t address) {
  const Word& word = words_[static_cast<std::size_t>(address)];
  (word.older == none ? oldest_ : words_[static_cast<std::size_t>(word.older)].newer) = word.newer;
  (word.newer == none ? newest_ : words_[static_cast<std::size_t>(word.newer)].older) = word.older;
}

void LruCache::append(std::int64_t address) {
  Word& word = words_[static_cast<std::size_t>(address)];
  word.older = newest_;
  word.newer = none;
  (newest_ == none ? oldest_ : words_[static_cast<std::size_t>(newest_)].newer) = address;
  newest_ = address;
}

void LruCache::touch(std::int64_t address, bool write) {
  require(address >= 0, "addresses start at 0");
  ++accesses_;
  if (static_cast<std::size_t>(address) >= words_.size())
    words_.resize(static_cast<std::size_t>(address) + 1);
  if (words_[static_cast<std::size_t>(address)].held) {
    if (address != newest_) {
      unlink(address);
      append(address);
    }
  } else {
    ++misses_;
    if (held_ == capacity_) {
      Word& victim = words_[static_cast<std::size_t>(oldest_)];
      victim.held = false;
      if (victim.changed) {
        ++write_backs_;
        --changed_;
        victim.changed = false;
      }
      unlink(oldest_);
    } else {
      ++held_;
    }
    words_[static_cast<std::size_t>(address)].held = true;
    append(address);
  }
  Word& word = words_[static_cast<std::size_t>(address)];
  if (write && !word.changed) {
    word.changed = true;
    ++changed_;
  }
}

}  // namespace laconic
