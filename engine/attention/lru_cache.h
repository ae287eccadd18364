// A fully associative cache of M words that evicts the word unused for longest: what a run costs when nobody
// places words.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/attention/two_level_memory.h"

namespace laconic {

class LruCache final : public AccessListener {
 public:
  explicit LruCache(std::int64_t words);
  void touch(std::int64_t address, bool write) override;

  std::uint64_t accesses() const { return accesses_; }
  std::uint64_t misses() const { return misses_; }
  // Changed words that were evicted, and those that still lie in the cache.
  std::uint64_t write_backs() const { return write_backs_ + changed_; }

 private:
  // Words by address in order of use; what was never touched has no neighbours.
  struct Word {
    std::int64_t older = none, newer = none;
    bool held = false, changed = false;
  };
  static constexpr std::int64_t none = -1;
  void unlink(std::int64_t address);
  void append(std::int64_t address);
  std::int64_t capacity_, held_ = 0, oldest_ = none, newest_ = none;
  std::uint64_t accesses_ = 0, misses_ = 0, write_backs_ = 0, changed_ = 0;
  std::vector<Word> words_;
};

}  // namespace laconic
