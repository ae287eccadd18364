// The distinct skeletons of a block by order of first use, with how many lines each has.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/hash.h"

namespace laconic::logzip {

class SkeletonIndex {
 public:
  std::uint32_t number(std::string_view key) {
    if ((keys_.size() + 1) * 2 > cells_.size()) grow();
    const std::uint64_t hash = xxh3_64(key);
    const std::size_t mask = cells_.size() - 1;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      if (cells_[at] == 0) {
        keys_.push_back({hash, arena_.size(), key.size(), 0});
        arena_ += key;
        cells_[at] = static_cast<std::uint32_t>(keys_.size());
        return cells_[at] - 1;
      }
      const Key& held = keys_[cells_[at] - 1];
      if (held.hash == hash && text(cells_[at] - 1) == key) return cells_[at] - 1;
    }
  }
  void count(std::uint32_t number) { ++keys_[number].lines; }
  std::uint32_t lines(std::uint32_t number) const { return keys_[number].lines; }
  std::string_view text(std::uint32_t number) const {
    return std::string_view(arena_).substr(keys_[number].begin, keys_[number].length);
  }
  std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::uint64_t hash;
    std::size_t begin, length;
    std::uint32_t lines;
  };
  void grow() {
    cells_.assign(std::max<std::size_t>(1024, cells_.size() * 2), 0);
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      std::size_t at = keys_[i].hash & (cells_.size() - 1);
      while (cells_[at] != 0) at = (at + 1) & (cells_.size() - 1);
      cells_[at] = i + 1;
    }
  }
  std::string arena_;
  std::vector<Key> keys_;
  std::vector<std::uint32_t> cells_;  // number + 1, 0: empty
};

}  // namespace laconic::logzip
