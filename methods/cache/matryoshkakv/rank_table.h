// How many columns of its basis every KV head keeps, for keys and for values.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/allocate/stepwise_descent.h"
#include "runtime/cache/kv_shape.h"

namespace laconic::matryoshkakv {

class RankTable {
 public:
  // The same rank everywhere.
  RankTable(const KvShape& shape, std::int64_t rank)
      : heads_(shape.kv_heads), ranks_(static_cast<std::size_t>(shape.layers * 2 * shape.kv_heads), rank) {}
  std::size_t index(std::int64_t layer, KvSide side, std::int64_t head) const {
    return static_cast<std::size_t>((layer * 2 + (side == KvSide::keys ? 0 : 1)) * heads_ + head);
  }
  std::int64_t& at(std::int64_t layer, KvSide side, std::int64_t head) {
    return ranks_.at(index(layer, side, head));
  }
  std::int64_t at(std::int64_t layer, KvSide side, std::int64_t head) const {
    return ranks_.at(index(layer, side, head));
  }
  std::vector<std::int64_t>& all() { return ranks_; }
  const std::vector<std::int64_t>& all() const { return ranks_; }
  std::int64_t total() const;

 private:
  std::int64_t heads_;
  std::vector<std::int64_t> ranks_;
};

// floor(share head_dim) columns everywhere. Error(usage) when that is none, naming the least share.
RankTable uniform_ranks(const KvShape& shape, double share);

// Ranks step, 2 step, ..., head_dim as levels of a descent whose units are the entries of a table, in order.
// The budget is the sum of all ranks at a mean share of head_dim. Error(usage) below step / head_dim.
DescentSpace rank_space(const KvShape& shape, std::int64_t step, double share);
RankTable ranks_of(const KvShape& shape, const DescentSpace& space, const Assignment& levels);

}  // namespace laconic::matryoshkakv
