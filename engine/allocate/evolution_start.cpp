#include "engine/allocate/evolution_start.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::uint64_t cost_at(const EvolutionSpace& space, std::size_t unit, int level) {
  return space.cost[unit][static_cast<std::size_t>(level)];
}

// The first `take` places of a random order of 0 .. count - 1.
std::vector<std::size_t> random_order(std::size_t count, std::size_t take, RandomStream& random) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = 0; i < take; ++i) {
    std::swap(order[i], order[i + random.below(static_cast<std::uint32_t>(count - i))]);
  }
  order.resize(take);
  return order;
}

}  // namespace

std::vector<Assignment> lowered_starts(const EvolutionSpace& space, const Assignment& top, int count,
                                       std::uint64_t seed) {
  require(space.cost.size() == top.size() && space.levels.size() == top.size(), "every unit has its costs");
  // Levels are lowered one by one, so what stands below a missing level cannot be reached.
  std::uint64_t least = 0, at_top = 0;
  for (std::size_t u = 0; u < top.size(); ++u) {
    require(space.has(u, top[u]), "the start of the lowering exists");
    int level = top[u];
    while (space.has(u, level - 1)) --level;
    least += cost_at(space, u, level);
    at_top += cost_at(space, u, top[u]);
  }
  if (least > space.budget) {
    fail(ErrorKind::usage,
         "the target of " + std::to_string(space.budget) + " is below the smallest possible", "budget",
         "the smallest is " + std::to_string(least));
  }
  std::vector<Assignment> starts;
  for (int i = 0; i < count; ++i) {
    RandomStream random(seed, "evolution", "start", static_cast<std::uint64_t>(i));
    Assignment levels = top;
    std::uint64_t cost = at_top;
    std::vector<std::size_t> movable(top.size());
    std::iota(movable.begin(), movable.end(), std::size_t{0});
    while (cost > space.budget) {
      require(!movable.empty(), "a reachable budget is reached");
      const std::size_t place = random.below(static_cast<std::uint32_t>(movable.size()));
      const std::size_t unit = movable[place];
      if (!space.has(unit, levels[unit] - 1)) {
        movable.erase(movable.begin() + static_cast<std::ptrdiff_t>(place));
        continue;
      }
      cost = cost - cost_at(space, unit, levels[unit]) + cost_at(space, unit, levels[unit] - 1);
      --levels[unit];
    }
    starts.push_back(std::move(levels));
  }
  return starts;
}

std::vector<Assignment> random_drops(const std::vector<int>& group, const std::vector<int>& dropped,
                                     int count, std::uint64_t seed) {
  std::vector<std::vector<std::size_t>> members(dropped.size());
  for (std::size_t u = 0; u < group.size(); ++u) {
    require(group[u] >= 0 && static_cast<std::size_t>(group[u]) < dropped.size(), "every kind has its count");
    members[static_cast<std::size_t>(group[u])].push_back(u);
  }
  for (std::size_t g = 0; g < dropped.size(); ++g) {
    if (dropped[g] < 0 || static_cast<std::size_t>(dropped[g]) > members[g].size()) {
      fail(ErrorKind::usage,
           "cannot drop " + std::to_string(dropped[g]) + " of " + std::to_string(members[g].size()) +
               " sub-blocks",
           "depth", "choose a number between 0 and " + std::to_string(members[g].size()));
    }
  }
  std::vector<Assignment> states;
  for (int i = 0; i < count; ++i) {
    RandomStream random(seed, "evolution", "drops", static_cast<std::uint64_t>(i));
    Assignment state(group.size(), 1);
    for (std::size_t g = 0; g < dropped.size(); ++g) {
      for (const std::size_t place :
           random_order(members[g].size(), static_cast<std::size_t>(dropped[g]), random)) {
        state[members[g][place]] = 0;
      }
    }
    states.push_back(std::move(state));
  }
  return states;
}

Assignment best_start(const std::vector<Assignment>& candidates,
                      const std::function<std::vector<double>(const std::vector<Assignment>&)>& fitness) {
  require(!candidates.empty(), "a search has a start");
  const std::vector<double> values = fitness(candidates);
  require(values.size() == candidates.size(), "every candidate has a fitness");
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] < values[best] || (std::isnan(values[best]) && !std::isnan(values[i]))) best = i;
  }
  return candidates[best];
}

std::vector<MinibatchPart> draw_minibatch(const std::vector<std::int64_t>& sequence_tokens,
                                          std::int64_t tokens, std::uint64_t seed, int generation,
                                          int stage) {
  const std::int64_t all = std::accumulate(sequence_tokens.begin(), sequence_tokens.end(), std::int64_t{0});
  if (tokens > all) {
    fail(ErrorKind::usage,
         "a selection stage needs " + std::to_string(tokens) + " tokens, the calibration text has " +
             std::to_string(all),
         "calibration", "give a longer text or fewer tokens per stage");
  }
  RandomStream random(seed, "evolution", "minibatch " + std::to_string(stage),
                      static_cast<std::uint64_t>(generation) + 1);
  std::vector<MinibatchPart> parts;
  for (const std::size_t sequence : random_order(sequence_tokens.size(), sequence_tokens.size(), random)) {
    if (tokens <= 0) break;
    const std::int64_t part = std::min(tokens, sequence_tokens[sequence]);
    if (part > 0) parts.push_back({sequence, part});
    tokens -= part;
  }
  return parts;
}

}  // namespace laconic
