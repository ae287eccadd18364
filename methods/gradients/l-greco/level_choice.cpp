#include "methods/gradients/l-greco/level_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/codec.h"

namespace laconic::l_greco {
namespace {

void check_choice(const AllocationProblem& table, std::size_t default_level, const ChoiceSettings& settings) {
  const auto refuse = [](std::string_view what, std::string_view where) {
    fail(ErrorKind::usage, what, where);
  };
  if (!(settings.alpha > 0) || !std::isfinite(settings.alpha)) refuse("is not positive", "alpha");
  if (settings.buckets < 1) refuse("is below 1", "buckets");
  if (!(settings.spend >= 0) || settings.spend > 1000) refuse("is not a share of 0 to 1000", "spend");
  for (std::size_t u = 0; u < table.units(); ++u) {
    if (table.cost[u].empty()) refuse("there is no level to choose from", "levels");
    if (default_level >= table.cost[u].size()) refuse("is not among the levels", "the default level");
  }
}

// Every layer's level is drawn, then layers drawn at random go down a level while `budget` is exceeded and up
// a level while it allows.
Assignment drawn_levels(const AllocationProblem& table, std::uint64_t budget, RandomStream& random) {
  Assignment levels;
  for (const auto& costs : table.cost)
    levels.push_back(static_cast<int>(random.below(static_cast<std::uint32_t>(costs.size()))));
  std::uint64_t cost = table.cost_of(levels);
  const auto change = [&](int by) {
    // Layers in a random order until one can change.
    std::vector<std::size_t> order(table.units());
    for (std::size_t u = 0; u < order.size(); ++u) order[u] = u;
    while (!order.empty()) {
      const auto drawn = random.below(static_cast<std::uint32_t>(order.size()));
      const std::size_t u = order[drawn];
      order.erase(order.begin() + drawn);
      const int level = levels[u] + by;
      if (level < 0 || level >= static_cast<int>(table.cost[u].size())) continue;
      const std::uint64_t changed = cost - table.cost[u][static_cast<std::size_t>(levels[u])] +
                                    table.cost[u][static_cast<std::size_t>(level)];
      if (by > 0 && changed > budget) continue;
      levels[u] = level;
      cost = changed;
      return true;
    }
    return false;
  };
  while (cost > budget && change(-1)) {
  }
  while (change(+1)) {
  }
  return levels;
}

// Draws until one is within a quarter of a percent of the budget, below or above; else the nearest of ten
// thousand. Filling up to the budget alone would leave every draw below it.
Assignment random_levels(const AllocationProblem& table, std::uint64_t seed) {
  RandomStream random(seed, "l-greco", "random levels");
  const auto budget = static_cast<double>(table.budget);
  Assignment nearest;
  double least = std::numeric_limits<double>::infinity();
  for (int draw = 0; draw < 10'000 && least > 0.0025 * budget; ++draw) {
    const double filled = budget * (0.9975 + 0.005 * static_cast<double>(random.uniform()));
    Assignment levels = drawn_levels(table, static_cast<std::uint64_t>(filled), random);
    const double apart = std::abs(static_cast<double>(table.cost_of(levels)) - budget);
    if (apart < least) {
      nearest = std::move(levels);
      least = apart;
    }
  }
  return nearest;
}

}  // namespace

std::vector<std::string> planner_names() {
  return {"dynamic", "uniform", "greedy", "random", "accordion", "accordion_dynamic"};
}

Planner planner_named(std::string_view name) {
  const std::vector<std::string> names = planner_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    fail(ErrorKind::usage, "no planner is called '" + std::string(name) + "'", "planner",
         "did you mean " + nearest_name(name, names) + "?");
  return static_cast<Planner>(found - names.begin());
}

LevelChoice choose_levels(AllocationProblem table, std::size_t default_level, const ChoiceSettings& settings,
                          const std::vector<double>& norms, const std::vector<double>& norms_before) {
  check_choice(table, default_level, settings);
  if (settings.squares) {
    for (auto& row : table.harm)
      for (double& harm : row) harm *= harm;
  }
  LevelChoice choice;
  const Assignment uniform(table.units(), static_cast<int>(default_level));
  choice.default_bytes = table.cost_of(uniform);
  choice.default_error = table.harm_of(uniform);
  if (table.units() == 0 || !(choice.default_error > 0) || !std::isfinite(choice.default_error)) {
    choice.keep = true;
    return choice;
  }

  Assignment target = uniform;  // whose error is the budget
  const bool accordion =
      settings.planner == Planner::accordion || settings.planner == Planner::accordion_dynamic;
  if (accordion && norms.size() == norms_before.size()) {
    for (std::size_t u = 0; u < norms.size(); ++u) {
      const bool steady = std::abs(norms_before[u] - norms[u]) < settings.eta * norms_before[u];
      if (steady) target[u] = 0;
    }
  }
  if (settings.planner == Planner::uniform || settings.planner == Planner::accordion) {
    choice.levels = target;
  } else {
    ErrorBudget budget;
    budget.harm = settings.alpha * table.harm_of(target);
    budget.buckets = settings.buckets;
    if (!(budget.harm > 0)) {
      choice.keep = true;
      return choice;
    }
    const CheapestLevels found = allocate_within_error(table, budget);
    choice.feasible = found.feasible;
    choice.levels = found.levels;
    table.budget = found.cost;
    if (settings.planner == Planner::greedy) choice.levels = allocate_greedy(table).levels;
    if (settings.planner == Planner::random) {
      if (settings.spend > 0)
        table.budget = static_cast<std::uint64_t>(settings.spend * static_cast<double>(choice.default_bytes));
      choice.levels = random_levels(table, settings.seed);
    }
  }
  choice.bytes = table.cost_of(choice.levels);
  choice.error = table.harm_of(choice.levels);
  for (std::size_t u = 0; u < table.units(); ++u) {
    const auto level = static_cast<std::size_t>(choice.levels[u]);
    choice.layer_bytes.push_back(table.cost[u][level]);
    const double harm = table.harm[u][level];
    choice.layer_errors.push_back(settings.squares ? std::sqrt(harm) : harm);
  }
  return choice;
}

}  // namespace laconic::l_greco
