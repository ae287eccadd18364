#include "engine/allocate/error_budget.h"

#include <cmath>
#include <limits>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::uint64_t unreachable = std::numeric_limits<std::uint64_t>::max();

void check_error_budget(const AllocationProblem& problem, const ErrorBudget& budget) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "error budget"); };
  if (!(budget.harm > 0) || !std::isfinite(budget.harm)) refuse("the error that is allowed is positive");
  if (budget.buckets < 1) refuse("an error budget has at least one bucket");
  if (budget.buckets > (std::int64_t{1} << 24)) refuse("more than 2^24 buckets");
  require(problem.harm.size() == problem.cost.size(), "every unit has costs and harms");
  for (std::size_t u = 0; u < problem.units(); ++u) {
    require(problem.harm[u].size() == problem.cost[u].size(), "every level has a cost and a harm");
    bool any = false;
    for (const double harm : problem.harm[u]) {
      if (harm < 0) refuse("an error is not negative");
      any = any || std::isfinite(harm);
    }
    if (!any) refuse("unit " + std::to_string(u) + " has no level with a finite error");
    if (problem.cost[u].size() > 256) refuse("more than 256 levels");
  }
}

Assignment least_harm(const AllocationProblem& problem) {
  Assignment levels(problem.units());
  for (std::size_t u = 0; u < problem.units(); ++u) {
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t j = 0; j < problem.harm[u].size(); ++j) {
      if (std::isfinite(problem.harm[u][j]) && problem.harm[u][j] < best) {
        best = problem.harm[u][j];
        levels[u] = static_cast<int>(j);
      }
    }
  }
  return levels;
}

}  // namespace

CheapestLevels allocate_within_error(const AllocationProblem& problem, const ErrorBudget& budget) {
  check_error_budget(problem, budget);
  const std::size_t units = problem.units();
  const auto spend =
      static_cast<std::size_t>(budget.buckets) + (budget.allowance ? units : 0);  // the last bucket
  // Buckets of a level; 0: not available.
  const auto price = [&](std::size_t u, std::size_t j) -> std::size_t {
    const double harm = problem.harm[u][j];
    if (!std::isfinite(harm) || harm > budget.harm) return 0;
    // 3 of 8 in 16 buckets is 6, not the 7 that the last bit of a quotient may make of it.
    const double exact = harm / budget.harm * static_cast<double>(budget.buckets);
    const double whole = std::nearbyint(exact);
    const double buckets = std::abs(exact - whole) < 1e-9 * std::max(1.0, whole) ? whole : std::ceil(exact);
    return static_cast<std::size_t>(std::max(1.0, buckets));
  };

  // Least cost, and its harm, of the units so far with at most e buckets.
  std::vector<std::uint64_t> cost(spend + 1, 0), next_cost(spend + 1);
  std::vector<double> harm(spend + 1, 0.0), next_harm(spend + 1);
  std::vector<std::vector<std::uint8_t>> choice(units, std::vector<std::uint8_t>(spend + 1, 0));
  for (std::size_t u = 0; u < units; ++u) {
    next_cost.assign(spend + 1, unreachable);
    for (std::size_t j = 0; j < problem.cost[u].size(); ++j) {
      const std::size_t q = price(u, j);
      if (q == 0) continue;
      for (std::size_t e = q; e <= spend; ++e) {
        if (cost[e - q] == unreachable) continue;
        const std::uint64_t sum = cost[e - q] + problem.cost[u][j];
        const double sum_harm = harm[e - q] + problem.harm[u][j];
        if (sum < next_cost[e] || (sum == next_cost[e] && sum_harm < next_harm[e])) {
          next_cost[e] = sum;
          next_harm[e] = sum_harm;
          choice[u][e] = static_cast<std::uint8_t>(j);
        }
      }
    }
    cost.swap(next_cost);
    harm.swap(next_harm);
  }

  CheapestLevels result;
  std::size_t best = 0;
  for (std::size_t e = 1; e <= spend; ++e) {
    if (cost[e] < cost[best]) best = e;
  }
  if (cost[best] == unreachable) {
    result.feasible = false;
    result.levels = least_harm(problem);
  } else {
    result.levels.resize(units);
    for (std::size_t u = units, e = best; u-- > 0;) {
      const std::size_t j = choice[u][e];
      result.levels[u] = static_cast<int>(j);
      e -= price(u, j);
    }
  }
  result.cost = problem.cost_of(result.levels);
  result.harm = problem.harm_of(result.levels);
  return result;
}

}  // namespace laconic
