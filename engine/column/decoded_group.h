// The list of columns with rows in common, in the order in which they are read: what later columns refer to.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "engine/column/column_view.h"

namespace laconic {

struct DecodedColumn {
  std::shared_ptr<const ColumnText> values;  // null while it was only read past
  std::uint32_t owner = 0;                   // the column of the set that it is, or is a word of
};

class DecodedGroup {
 public:
  std::size_t size() const { return size_; }
  // 1 is the last one. Requires 0 < distance <= size().
  const DecodedColumn& back(std::size_t distance) const { return columns_[size_ - distance]; }
  // False, with nothing added, where a replay has no place left.
  bool add(DecodedColumn column) {
    if (size_ == end_) return false;
    if (size_ == columns_.size()) {
      columns_.push_back(std::move(column));
    } else {
      columns_[size_] = std::move(column);
    }
    ++size_;
    return true;
  }
  // Places for columns that are read later.
  void reserve_places(std::size_t count, std::uint32_t owner) {
    columns_.resize(columns_.size() + count, {nullptr, owner});
    size_ = columns_.size();
  }

  // While it lives, the list is as it was when the columns of [begin, begin + count) came; they come again,
  // into their places, and no others.
  class Replay {
   public:
    Replay(DecodedGroup& group, std::size_t begin, std::size_t count) : group_(group) {
      group_.size_ = begin;
      group_.end_ = begin + count;
    }
    ~Replay() {
      group_.size_ = group_.columns_.size();
      group_.end_ = no_end;
    }
    Replay(const Replay&) = delete;
    Replay& operator=(const Replay&) = delete;
    // Whether all of them came.
    bool complete() const { return group_.size_ == group_.end_; }

   private:
    DecodedGroup& group_;
  };

 private:
  static constexpr std::size_t no_end = std::numeric_limits<std::size_t>::max();

  std::vector<DecodedColumn> columns_;
  std::size_t size_ = 0;
  std::size_t end_ = no_end;  // no column is added from there on
};

}  // namespace laconic
