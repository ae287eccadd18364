#include "methods/cache/matryoshkakv/rank_table.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/math/top_k.h"

namespace laconic::matryoshkakv {

std::int64_t RankTable::total() const {
  return std::accumulate(ranks_.begin(), ranks_.end(), std::int64_t{0});
}

RankTable uniform_ranks(const KvShape& shape, double share) {
  const std::int64_t rank = count_of(shape.head_dim, share, CountRule::floor, 0);
  if (rank < 1) {
    fail(ErrorKind::usage,
         fmt::format("a rank of {} leaves nothing of heads of {} numbers", share, shape.head_dim),
         "matryoshkakv", fmt::format("the smallest is {}", 1.0 / static_cast<double>(shape.head_dim)));
  }
  return RankTable(shape, rank);
}

DescentSpace rank_space(const KvShape& shape, std::int64_t step, double share) {
  require(step >= 1 && step <= shape.head_dim, "a step of ranks lies within a head");
  std::vector<std::uint64_t> levels;
  for (std::int64_t rank = step; rank < shape.head_dim; rank += step)
    levels.push_back(static_cast<std::uint64_t>(rank));
  levels.push_back(static_cast<std::uint64_t>(shape.head_dim));
  const auto units = static_cast<std::size_t>(shape.layers * 2 * shape.kv_heads);
  DescentSpace space;
  space.cost.assign(units, levels);
  space.budget = static_cast<std::uint64_t>(
      std::floor(share * static_cast<double>(shape.head_dim) * static_cast<double>(units) * (1 + 1e-12)));
  if (space.budget < units * levels.front()) {
    fail(ErrorKind::usage,
         fmt::format("a mean rank of {} is below one step of {} of {} numbers", share, step, shape.head_dim),
         "matryoshkakv",
         fmt::format("the smallest is {}", static_cast<double>(step) / static_cast<double>(shape.head_dim)));
  }
  return space;
}

RankTable ranks_of(const KvShape& shape, const DescentSpace& space, const Assignment& levels) {
  RankTable table(shape, shape.head_dim);
  for (std::size_t unit = 0; unit < levels.size(); ++unit)
    table.all()[unit] = static_cast<std::int64_t>(space.cost[unit][static_cast<std::size_t>(levels[unit])]);
  return table;
}

}  // namespace laconic::matryoshkakv
