#include "methods/gradients/problems/tuned_arm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/threads.h"

namespace laconic {

ArmNumbers tuned_arm(const std::vector<LoopSetting>& grid,
                     const std::function<LoopOutcome(const LoopSetting&)>& run) {
  require(!grid.empty(), "a grid has a setting");
  std::vector<LoopOutcome> outcomes(grid.size());
  parallel_for(static_cast<std::int64_t>(grid.size()), [&](std::int64_t i) {
    throw_if_interrupted();
    LoopOutcome& outcome = outcomes[static_cast<std::size_t>(i)];
    outcome = run(grid[static_cast<std::size_t>(i)]);
    if (!(outcome.value < diverged_value)) outcome.value = diverged_value;
  });
  std::size_t best = 0;
  double least_step = grid.front().step, most_step = grid.front().step;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (outcomes[i].value < outcomes[best].value) best = i;
    least_step = std::min(least_step, grid[i].step);
    most_step = std::max(most_step, grid[i].step);
  }
  const LoopOutcome& chosen = outcomes[best];
  ArmNumbers numbers = {{"value", chosen.value},
                        {"bytes", static_cast<double>(chosen.bytes)},
                        {"steps", chosen.steps},
                        {"step", grid[best].step},
                        {"eta", grid[best].eta}};
  numbers["edge"] = grid[best].step == least_step || grid[best].step == most_step ? 1 : 0;
  for (std::size_t i = 0; i < chosen.curve.size(); ++i) {
    numbers[fmt::format("curve.{:03}.bytes", i)] = chosen.curve[i].first;
    numbers[fmt::format("curve.{:03}.value", i)] = std::min(chosen.curve[i].second, diverged_value);
  }
  for (std::size_t i = 0; i < grid.size(); ++i) {
    numbers[fmt::format("tried.{:03}.step", i)] = grid[i].step;
    numbers[fmt::format("tried.{:03}.eta", i)] = grid[i].eta;
    numbers[fmt::format("tried.{:03}.value", i)] = outcomes[i].value;
  }
  return numbers;
}

std::vector<LoopSetting> steps_of(const std::vector<double>& steps) {
  std::vector<LoopSetting> grid;
  for (const double step : steps) grid.push_back({step, 0});
  return grid;
}

std::string range_text(const Spread& range) {
  if (range.least >= diverged_value) return "diverged";
  return fmt::format("{:.2g} [{:.2g}, {:.2g}]", range.mean, range.least, range.most);
}

std::vector<std::pair<double, double>> mean_curve(const std::vector<ArmNumbers>& seeds) {
  std::vector<std::pair<double, double>> points;
  for (std::size_t i = 0;; ++i) {
    const std::string bytes = fmt::format("curve.{:03}.bytes", i),
                      value = fmt::format("curve.{:03}.value", i);
    const bool all =
        std::all_of(seeds.begin(), seeds.end(), [&](const ArmNumbers& arm) { return arm.count(bytes) > 0; });
    if (!all) return points;
    points.emplace_back(spread_of(seeds, bytes).mean, spread_of(seeds, value).mean);
  }
}

}  // namespace laconic
