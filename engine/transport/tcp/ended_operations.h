// Which operations are over. Sequence numbers only grow, so the oldest may be forgotten.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <utility>

namespace laconic {

class EndedOperations {
 public:
  void add(std::uint64_t tag, std::uint64_t sequence) {
    const std::lock_guard lock(mutex_);
    ended_.emplace(sequence, tag);
    if (ended_.size() > remembered) {
      horizon_ = std::max(horizon_, ended_.begin()->first);
      ended_.erase(ended_.begin());
    }
  }
  bool contains(std::uint64_t tag, std::uint64_t sequence) const {
    const std::lock_guard lock(mutex_);
    return sequence < horizon_ || ended_.contains({sequence, tag});
  }

 private:
  static constexpr std::size_t remembered = std::size_t{1} << 14;

  mutable std::mutex mutex_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> ended_;
  std::uint64_t horizon_ = 0;
};

}  // namespace laconic
