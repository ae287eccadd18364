#include "engine/allocate/evolution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr int attempts_per_offspring = 200;

std::uint64_t cost_of(const EvolutionSpace& space, const Assignment& levels) {
  std::uint64_t sum = 0;
  for (std::size_t u = 0; u < levels.size(); ++u) sum += space.cost[u][static_cast<std::size_t>(levels[u])];
  return sum;
}

template <class Predicate>
std::vector<std::size_t> members(const EvolutionSpace& space, int group, Predicate predicate) {
  std::vector<std::size_t> result;
  for (std::size_t u = 0; u < space.levels.size(); ++u) {
    if (space.group[u] == group && predicate(u)) result.push_back(u);
  }
  return result;
}

std::size_t pick(const std::vector<std::size_t>& from, RandomStream& random) {
  return from[random.below(static_cast<std::uint32_t>(from.size()))];
}

int draw_flips(int most, RandomStream& random) {
  const std::uint32_t a = random.below(static_cast<std::uint32_t>(most));
  const std::uint32_t b = random.below(static_cast<std::uint32_t>(most));
  return 1 + static_cast<int>(std::min(a, b));
}

bool exchange(Assignment& child, const EvolutionSpace& space, RandomStream& random) {
  // A random unit's group: groups are drawn in proportion to their number of units.
  const int group = space.group[random.below(static_cast<std::uint32_t>(child.size()))];
  const auto down = members(space, group, [&](std::size_t u) { return space.has(u, child[u] - 1); });
  const auto up = members(space, group, [&](std::size_t u) { return space.has(u, child[u] + 1); });
  if (down.empty() || up.empty()) return false;
  const std::size_t lowered = pick(down, random), raised = pick(up, random);
  --child[lowered];
  ++child[raised];
  return true;
}

bool swap_kept(Assignment& child, const EvolutionSpace& space, RandomStream& random) {
  const int groups = 1 + *std::max_element(space.group.begin(), space.group.end());
  const auto group = static_cast<int>(random.below(static_cast<std::uint32_t>(groups)));
  const auto kept = members(space, group, [&](std::size_t u) { return child[u] == 1; });
  const auto dropped = members(space, group, [&](std::size_t u) { return child[u] == 0; });
  if (kept.empty() || dropped.empty()) return false;
  const std::size_t drop = pick(kept, random), restore = pick(dropped, random);
  child[drop] = 0;
  child[restore] = 1;
  return true;
}

bool raise_and_lower(Assignment& child, const Assignment& parent, const EvolutionSpace& space, int flips,
                     RandomStream& random) {
  std::vector<std::size_t> all(child.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::uint64_t added = 0, removed = 0;
  const auto price = [&](std::size_t u, int level) { return space.cost[u][static_cast<std::size_t>(level)]; };
  for (int flip = 0; flip < flips; ++flip) {
    std::vector<std::size_t> up;
    for (const std::size_t u : all) {
      if (space.has(u, child[u] + 1)) up.push_back(u);
    }
    if (up.empty()) return false;
    const std::size_t u = pick(up, random);
    added += price(u, child[u] + 1) - price(u, child[u]);
    ++child[u];
  }
  while (cost_of(space, child) > space.budget) {
    std::vector<std::size_t> down;
    for (const std::size_t u : all) {
      if (space.has(u, child[u] - 1)) down.push_back(u);
    }
    if (down.empty()) return false;
    const std::size_t u = pick(down, random);
    removed += price(u, child[u]) - price(u, child[u] - 1);
    --child[u];
  }
  int changes = 0;
  for (const std::size_t u : all) changes += std::abs(child[u] - parent[u]);
  return changes <= 10 && static_cast<double>(added) / std::max(1.0, static_cast<double>(removed)) >= 0.8;
}

void check(const EvolutionState& state, const EvolutionSpace& space, const EvolutionOptions& options) {
  require(space.levels.size() == state.parent.size() && space.group.size() == state.parent.size(),
          "the search space describes every unit");
  require(space.max_flips >= 1, "a mutation flips at least once");
  require(
      space.cost.size() == state.parent.size() || (space.cost.empty() && space.rule != MutationRule::none),
      "rule none knows the costs of every unit");
  if (options.survivors.empty() || options.survivors.back() != 1) {
    fail(ErrorKind::usage, "the last stage must keep exactly one survivor", "survivors");
  }
  if (options.offspring < 1 || options.survivors.front() > options.offspring) {
    fail(ErrorKind::usage, "the first stage keeps more survivors than there are offspring", "offspring");
  }
  for (std::size_t s = 1; s < options.survivors.size(); ++s) {
    if (options.survivors[s] > options.survivors[s - 1] || options.survivors[s] < 1) {
      fail(ErrorKind::usage, "survivors must not grow from stage to stage", "survivors");
    }
  }
  for (std::size_t u = 0; u < state.parent.size(); ++u) {
    if (!space.has(u, state.parent[u]))
      fail(ErrorKind::usage, "the start uses a level that does not exist", "start");
  }
  if (!space.cost.empty() && cost_of(space, state.parent) > space.budget) {
    fail(ErrorKind::usage, "the start is over the budget", "start");
  }
}

// Fitness values with NaN as infinity, and the order from best to worst (ties: first in the list).
std::vector<std::size_t> ranking(std::vector<double>& fitness) {
  for (double& value : fitness) {
    if (std::isnan(value)) value = std::numeric_limits<double>::infinity();
  }
  std::vector<std::size_t> order(fitness.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return fitness[a] < fitness[b]; });
  return order;
}

}  // namespace

Assignment mutate(const Assignment& parent, const EvolutionSpace& space, RandomStream& random) {
  Assignment child = parent;
  const int flips = draw_flips(space.max_flips, random);
  if (space.rule == MutationRule::none) {
    return raise_and_lower(child, parent, space, flips, random) ? child : Assignment{};
  }
  bool moved = false;
  for (int flip = 0; flip < flips; ++flip) {
    moved = (space.rule == MutationRule::size ? exchange(child, space, random)
                                              : swap_kept(child, space, random)) ||
            moved;
  }
  const bool fits = space.cost.empty() || cost_of(space, child) <= space.budget;
  return moved && fits ? child : Assignment{};
}

EvolutionState start_evolution(Assignment parent, const CommonFitness& common) {
  EvolutionState state;
  state.best = parent;
  state.parent = std::move(parent);
  state.best_fitness = common ? common(state.best) : 0;
  return state;
}

void evolve(EvolutionState& state, const EvolutionSpace& space, const EvolutionOptions& options,
            const StageFitness& fitness, const CommonFitness& common,
            const std::function<void(const EvolutionState&)>& checkpoint) {
  check(state, space, options);
  Progress progress(options.progress, "evolution", options.generations);
  progress.advance(state.generation);
  for (; state.generation < options.generations; ++state.generation) {
    RandomStream random(options.seed, "evolution", "mutation", static_cast<std::uint64_t>(state.generation));
    std::vector<Assignment> candidates;
    std::set<Assignment> seen = {state.parent};
    for (int attempt = 0; attempt < attempts_per_offspring * options.offspring &&
                          candidates.size() < static_cast<std::size_t>(options.offspring);
         ++attempt) {
      Assignment child = mutate(state.parent, space, random);
      if (!child.empty() && seen.insert(child).second) candidates.push_back(std::move(child));
    }
    if (candidates.empty()) return;  // no legal move at all: the current parent is the answer
    double last = 0;
    bool parent_joined = false;
    for (std::size_t stage = 0; stage < options.survivors.size(); ++stage) {
      if (!parent_joined && options.survivors[stage] == options.survivors.back()) {
        candidates.push_back(state.parent);
        parent_joined = true;
      }
      std::vector<double> values = fitness(candidates, static_cast<int>(stage), state.generation);
      require(values.size() == candidates.size(), "every candidate has a fitness");
      const std::vector<std::size_t> order = ranking(values);
      std::vector<Assignment> kept;
      for (std::size_t i = 0; i < std::min(order.size(), static_cast<std::size_t>(options.survivors[stage]));
           ++i) {
        kept.push_back(candidates[order[i]]);
      }
      last = values[order.front()];
      candidates = std::move(kept);
    }
    const bool moved = candidates.front() != state.parent;
    state.parent = candidates.front();
    state.history.push_back(last);
    if (!common) {
      state.best = state.parent;
      state.best_fitness = last;
    } else if (moved) {
      const double value = common(state.parent);
      if (value < state.best_fitness) {
        state.best = state.parent;
        state.best_fitness = value;
      }
    }
    progress.advance();
    if (checkpoint) {
      EvolutionState saved = state;
      ++saved.generation;
      checkpoint(saved);
    }
  }
}

}  // namespace laconic
