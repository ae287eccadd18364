#include "methods/weights/evopress/level_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/allocate/evolution_start.h"
#include "engine/base/error.h"

namespace laconic::evopress {
namespace {

std::uint64_t cost_of(const EvolutionSpace& space, const Assignment& levels) {
  std::uint64_t sum = 0;
  for (std::size_t u = 0; u < levels.size(); ++u) sum += space.cost[u][static_cast<std::size_t>(levels[u])];
  return sum;
}

bool exists(const EvolutionSpace& space, std::size_t unit, int level) {
  return level >= 0 && level < space.levels[unit] && (!space.exists || space.exists(unit, level));
}

// The smallest step up from an assignment: a budget that leaves less than this is used up.
std::uint64_t smallest_raise(const EvolutionSpace& space, const Assignment& levels) {
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t u = 0; u < levels.size(); ++u) {
    if (!exists(space, u, levels[u] + 1)) continue;
    const auto level = static_cast<std::size_t>(levels[u]);
    least =
        std::min(least, space.cost[u][level + 1] - std::min(space.cost[u][level], space.cost[u][level + 1]));
  }
  return least;
}

// The highest level that all units can have together; -1 when none fits.
int highest_uniform(const EvolutionSpace& space) {
  for (int level = *std::min_element(space.levels.begin(), space.levels.end()); level-- > 0;) {
    std::uint64_t cost = 0;
    for (const auto& unit : space.cost) cost += unit[static_cast<std::size_t>(level)];
    if (cost <= space.budget) return level;
  }
  return -1;
}

}  // namespace

EvolutionSpace bits_space(const VariantSpace& variants, ByteBudget::Counts counts, std::uint64_t budget,
                          MutationRule rule) {
  EvolutionSpace space;
  space.levels.assign(variants.units(), variants.levels());
  space.cost = variants.costs(counts);
  space.budget = budget;
  space.group = variants.size_groups();
  space.rule = rule;
  return space;
}

EvolutionSpace sparsity_space(const VariantSpace& variants, const SparsityLevels& levels,
                              ByteBudget::Counts counts, std::uint64_t budget) {
  EvolutionSpace space = bits_space(variants, counts, budget, MutationRule::size);
  space.group.assign(variants.units(), 0);
  std::vector<std::int64_t> weights;
  for (std::size_t u = 0; u < variants.units(); ++u) weights.push_back(variants.weights(u));
  space.exists = [levels, weights](std::size_t unit, int level) {
    return levels.exists(weights[unit], level);
  };
  return space;
}

std::uint64_t bytes_at_width(const VariantSpace& variants,
                             const std::vector<std::vector<std::uint64_t>>& costs,
                             const std::vector<int>& bits, double width) {
  if (width < bits.front() || width > bits.back()) {
    fail(ErrorKind::usage, fmt::format("an average of {} bits lies outside the levels", width), "bits",
         fmt::format("choose from {} to {}", bits.front(), bits.back()));
  }
  const auto uniform = [&](std::size_t level) {
    std::uint64_t sum = 0;
    for (std::size_t u = 0; u < variants.units(); ++u) sum += costs[u][level];
    return sum;
  };
  std::size_t level = 0;
  while (level + 1 < bits.size() && bits[level + 1] <= width) ++level;
  const std::uint64_t low = uniform(level);
  if (level + 1 == bits.size()) return low;
  const double share = (width - bits[level]) / (bits[level + 1] - bits[level]);
  return low + static_cast<std::uint64_t>(std::floor(share * static_cast<double>(uniform(level + 1) - low)));
}

std::vector<Assignment> sampled_starts(const EvolutionSpace& space, int count, std::uint64_t seed) {
  const int level = highest_uniform(space);
  const int top = *std::min_element(space.levels.begin(), space.levels.end()) - 1;
  return lowered_starts(space, Assignment(space.levels.size(), std::min(level + 1, top)), count, seed);
}

std::vector<Assignment> level_starts(const EvolutionSpace& space, int count, std::uint64_t seed) {
  const int level = highest_uniform(space);
  if (level >= 0) {
    const Assignment uniform(space.levels.size(), level);
    const std::uint64_t left = space.budget - cost_of(space, uniform), raise = smallest_raise(space, uniform);
    if (left < raise) return {uniform};
  }
  std::vector<Assignment> starts = sampled_starts(space, count, seed);
  if (level >= 0) {
    for (const char* pattern : {"first half", "last half", "alternating"}) {
      starts.push_back(raised_start(space, pattern_order(pattern, space.levels.size())));
    }
  }
  return starts;
}

Assignment raised_start(const EvolutionSpace& space, const std::vector<std::size_t>& order) {
  Assignment levels(space.levels.size(), std::max(0, highest_uniform(space)));
  std::uint64_t cost = cost_of(space, levels);
  for (const std::size_t unit : order) {
    if (!exists(space, unit, levels[unit] + 1)) continue;
    const auto& costs = space.cost[unit];
    const auto level = static_cast<std::size_t>(levels[unit]);
    if (cost - costs[level] + costs[level + 1] > space.budget) continue;
    cost = cost - costs[level] + costs[level + 1];
    ++levels[unit];
  }
  return levels;
}

std::vector<std::size_t> pattern_order(const std::string& name, std::size_t units) {
  std::vector<std::size_t> order(units);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (name == "last half") {
    std::reverse(order.begin(), order.end());
  } else if (name == "alternating") {
    std::stable_sort(order.begin(), order.end(), [](std::size_t a, std::size_t b) { return a % 2 < b % 2; });
  } else {
    require(name == "first half", "a known pattern");
  }
  return order;
}

Assignment planned_start(const EvolutionSpace& space, std::vector<std::vector<double>> harm) {
  AllocationProblem problem{space.cost, std::move(harm), space.budget};
  for (std::size_t u = 0; u < problem.units(); ++u) {
    for (std::size_t level = 0; level < problem.harm[u].size(); ++level) {
      if (!exists(space, u, static_cast<int>(level))) problem.harm[u][level] = std::nan("");
    }
  }
  return allocate_dynamic(problem).levels;
}

}  // namespace laconic::evopress
