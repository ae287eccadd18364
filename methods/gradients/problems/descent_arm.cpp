#include "methods/gradients/problems/descent_arm.h"

#include <algorithm>
#include <cmath>

namespace laconic {
namespace {

constexpr double curve_points = 60;

}  // namespace

std::vector<DescentArm> descent_arms(bool more) {
  const auto form = [](bool error, bool estimator, double eta) {
    FeedbackForm made;
    made.error = error;
    made.estimator = estimator;
    made.eta = eta;
    return made;
  };
  std::vector<DescentArm> arms(5);
  arms[0].name = "SGD";
  arms[0].compressed = false;
  arms[1].name = "C-SGD";
  arms[2].name = "EC";
  arms[2].form = form(true, false, 1);
  arms[3].name = "EF21";
  arms[3].form = form(false, true, 0);
  arms[4].name = "EControl";
  arms[4].form = form(true, true, 0);
  arms[4].tunes_eta = true;
  if (more) {
    arms.push_back(arms[2]);
    arms.back().name = "EC-Ideal";
    arms.back().ideal = true;
    arms.push_back(arms[3]);
    arms.back().name = "EF21-SGDM";
    arms.back().form.average = 0.1;
  }
  return arms;
}

LoopOutcome run_descent(const Oracle& oracle, const Channel& channel, const DescentSettings& settings,
                        std::vector<double> start, const DescentBudget& budget,
                        const std::function<double(std::span<const double>)>& gap, std::uint64_t gap_every) {
  const auto workers = local_workers(oracle.workers());
  const double first = gap(start);
  CompressedDescent descent(oracle, *workers, channel, settings, std::move(start));
  LoopOutcome outcome;
  outcome.curve.emplace_back(0.0, first);
  std::vector<double> gaps;
  std::uint64_t cost = 0;  // of a step; the first one may send whole vectors
  while (descent.steps() < budget.steps) {
    const std::uint64_t sent = descent.bytes_up();
    if (budget.bytes > 0 && sent + cost > budget.bytes) break;
    if (!descent.step()) {
      outcome.value = diverged_value;
      return outcome;
    }
    if (descent.steps() > 1) cost = descent.bytes_up() - sent;
    if (descent.steps() % gap_every != 0) continue;
    const double now = gap(descent.point());
    gaps.push_back(now);
    if (!(now <= 1e6 * std::max(first, 1.0))) {
      outcome.value = diverged_value;
      return outcome;
    }
    const double share = budget.bytes > 0
                             ? static_cast<double>(descent.bytes_up()) / static_cast<double>(budget.bytes)
                             : static_cast<double>(descent.steps()) / static_cast<double>(budget.steps);
    if (share * curve_points >= static_cast<double>(outcome.curve.size()))
      outcome.curve.emplace_back(static_cast<double>(descent.bytes_up()), now);
  }
  const auto count =
      std::max<std::size_t>(1, static_cast<std::size_t>(budget.tail * static_cast<double>(gaps.size())));
  double sum = 0;
  for (std::size_t i = gaps.size() - std::min(count, gaps.size()); i < gaps.size(); ++i) sum += gaps[i];
  outcome.value = gaps.empty() ? first : sum / static_cast<double>(count);
  outcome.bytes = descent.bytes_up();
  outcome.steps = static_cast<double>(descent.steps());
  return outcome;
}

}  // namespace laconic
