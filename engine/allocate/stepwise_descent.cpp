#include "engine/allocate/stepwise_descent.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/error.h"

namespace laconic {
namespace {

void check_descent(const DescentSpace& space) {
  if (space.cost.empty()) fail(ErrorKind::usage, "there is nothing to lower");
  for (const auto& levels : space.cost) {
    if (levels.empty()) fail(ErrorKind::usage, "a unit has no levels");
    if (!std::is_sorted(levels.begin(), levels.end()))
      fail(ErrorKind::usage, "a higher level costs less than a lower one");
  }
  require(space.share > 0 && space.share <= 1, "a round lowers a share of the units");
}

Assignment highest_levels(const DescentSpace& space) {
  Assignment levels;
  for (const auto& unit : space.cost) levels.push_back(static_cast<int>(unit.size()) - 1);
  return levels;
}

std::uint64_t cost_of_levels(const DescentSpace& space, const Assignment& levels) {
  std::uint64_t sum = 0;
  for (std::size_t unit = 0; unit < levels.size(); ++unit)
    sum += space.cost[unit][static_cast<std::size_t>(levels[unit])];
  return sum;
}

}  // namespace

Descent descend(const DescentSpace& space, const LoweredHarm& harm,
                const std::function<void(const Descent&)>& after_round) {
  check_descent(space);
  const std::uint64_t least = cost_of_levels(space, Assignment(space.cost.size(), 0));
  if (least > space.budget) {
    fail(ErrorKind::usage, fmt::format("the budget {} is below the smallest cost {}", space.budget, least),
         {}, "ask for more");
  }
  Descent descent;
  descent.levels = highest_levels(space);
  const auto at_once = static_cast<std::size_t>(
      std::max(1.0, std::floor(space.share * static_cast<double>(space.cost.size()))));
  while (cost_of_levels(space, descent.levels) > space.budget) {
    std::vector<std::size_t> units;
    for (std::size_t unit = 0; unit < space.cost.size(); ++unit) {
      if (descent.levels[unit] > 0) units.push_back(unit);
    }
    std::vector<double> harms = harm(descent.levels, units);
    require(harms.size() == units.size(), "a harm for every unit");
    for (double& value : harms) {
      if (std::isnan(value)) value = std::numeric_limits<double>::infinity();
    }
    std::vector<std::size_t> order(units.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return harms[a] < harms[b]; });
    for (std::size_t i = 0; i < std::min(at_once, order.size()); ++i) {
      const std::size_t unit = units[order[i]];
      --descent.levels[unit];
      descent.lowered.push_back(unit);
      descent.harm.push_back(harms[order[i]]);
      if (cost_of_levels(space, descent.levels) <= space.budget) break;
    }
    if (after_round) after_round(descent);
  }
  return descent;
}

Assignment replay_descent(const DescentSpace& space, std::span<const std::size_t> lowered) {
  check_descent(space);
  Assignment levels = highest_levels(space);
  std::size_t step = 0;
  for (; step < lowered.size() && cost_of_levels(space, levels) > space.budget; ++step) {
    const std::size_t unit = lowered[step];
    if (unit >= levels.size() || levels[unit] == 0)
      fail(ErrorKind::usage, "the steps lower a unit that is not there or cannot go lower");
    --levels[unit];
  }
  if (const std::uint64_t cost = cost_of_levels(space, levels); cost > space.budget) {
    fail(ErrorKind::usage,
         fmt::format("the budget {} is below {}, where the steps of the search end", space.budget, cost));
  }
  return levels;
}

}  // namespace laconic
