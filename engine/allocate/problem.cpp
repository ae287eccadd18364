#include "engine/allocate/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

bool available(const AllocationProblem& problem, std::size_t unit, std::size_t level) {
  return std::isfinite(problem.harm[unit][level]);
}

Allocation finished(const AllocationProblem& problem, Assignment levels, double lower_bound = -infinity) {
  Allocation result;
  result.cost = problem.cost_of(levels);
  result.harm = problem.harm_of(levels);
  result.levels = std::move(levels);
  result.lower_bound = lower_bound;
  require(result.cost <= problem.budget, "an allocation stays under its budget");
  return result;
}

Assignment cheapest(const AllocationProblem& problem) {
  Assignment levels(problem.units());
  for (std::size_t u = 0; u < problem.units(); ++u) {
    int best = -1;
    for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
      if (!available(problem, u, l)) continue;
      const auto b = static_cast<std::size_t>(best);
      if (best < 0 || problem.cost[u][l] < problem.cost[u][b] ||
          (problem.cost[u][l] == problem.cost[u][b] && problem.harm[u][l] < problem.harm[u][b])) {
        best = static_cast<int>(l);
      }
    }
    levels[u] = best;
  }
  return levels;
}

// Steps of greatest drop of harm per byte while any fits. Steps that cost nothing come first.
void fill(const AllocationProblem& problem, Assignment& levels) {
  std::uint64_t used = problem.cost_of(levels);
  for (;;) {
    double best_gain = 0;
    std::size_t best_unit = 0, best_level = 0;
    for (std::size_t u = 0; u < problem.units(); ++u) {
      const auto now = static_cast<std::size_t>(levels[u]);
      for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
        if (!available(problem, u, l)) continue;
        const double drop = problem.harm[u][now] - problem.harm[u][l];
        if (!(drop > 0) || used - problem.cost[u][now] + problem.cost[u][l] > problem.budget) continue;
        const double bytes = problem.cost[u][l] > problem.cost[u][now]
                                 ? static_cast<double>(problem.cost[u][l] - problem.cost[u][now])
                                 : 0;
        const double gain = bytes == 0 ? infinity : drop / bytes;
        if (gain > best_gain) {
          best_gain = gain;
          best_unit = u;
          best_level = l;
        }
      }
    }
    if (best_gain == 0) return;
    used = used - problem.cost[best_unit][static_cast<std::size_t>(levels[best_unit])] +
           problem.cost[best_unit][best_level];
    levels[best_unit] = static_cast<int>(best_level);
  }
}

}  // namespace

std::uint64_t AllocationProblem::cost_of(const Assignment& levels) const {
  std::uint64_t sum = 0;
  for (std::size_t u = 0; u < units(); ++u) sum += cost[u][static_cast<std::size_t>(levels[u])];
  return sum;
}

double AllocationProblem::harm_of(const Assignment& levels) const {
  double sum = 0;
  for (std::size_t u = 0; u < units(); ++u) sum += harm[u][static_cast<std::size_t>(levels[u])];
  return sum;
}

std::uint64_t AllocationProblem::minimum_cost() const { return cost_of(cheapest(*this)); }

void AllocationProblem::validate() const {
  require(harm.size() == cost.size(), "every unit has costs and harms");
  for (std::size_t u = 0; u < units(); ++u) {
    require(harm[u].size() == cost[u].size(), "every level has a cost and a harm");
    bool any = false;
    for (std::size_t l = 0; l < cost[u].size(); ++l) any = any || available(*this, u, l);
    if (!any) fail(ErrorKind::usage, "unit " + std::to_string(u) + " has no available level", "budget");
  }
  if (const std::uint64_t least = minimum_cost(); least > budget) {
    fail(ErrorKind::usage, std::to_string(budget) + " bytes are below the smallest possible", "budget",
         "the smallest is " + std::to_string(least) + " bytes");
  }
}

Allocation allocate_greedy(const AllocationProblem& problem) {
  problem.validate();
  Assignment levels = cheapest(problem);
  fill(problem, levels);
  return finished(problem, std::move(levels));
}

Allocation allocate_dynamic(const AllocationProblem& problem, std::int64_t steps) {
  problem.validate();
  const std::size_t units = problem.units();
  // Costs count from the cheapest level of each unit, so that the table spans only what there is to decide.
  std::vector<std::uint64_t> base(units, std::numeric_limits<std::uint64_t>::max());
  std::uint64_t spare = problem.budget, divisor = 0;
  for (std::size_t u = 0; u < units; ++u) {
    for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
      if (available(problem, u, l)) base[u] = std::min(base[u], problem.cost[u][l]);
    }
    spare -= base[u];
    for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
      if (available(problem, u, l)) divisor = std::gcd(divisor, problem.cost[u][l] - base[u]);
    }
  }
  if (divisor == 0) divisor = 1;
  const auto limit = static_cast<std::uint64_t>(steps);
  const std::uint64_t step = spare / divisor <= limit ? divisor : (spare + limit - 1) / limit;
  const std::size_t width = static_cast<std::size_t>(spare / step) + 1;
  std::vector<double> best(width, 0), next(width);
  std::vector<std::vector<std::int16_t>> choice(units, std::vector<std::int16_t>(width, -1));
  for (std::size_t u = 0; u < units; ++u) {
    std::fill(next.begin(), next.end(), infinity);
    for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
      if (!available(problem, u, l)) continue;
      const std::uint64_t price = (problem.cost[u][l] - base[u] + step - 1) / step;
      for (std::size_t w = static_cast<std::size_t>(std::min<std::uint64_t>(price, width)); w < width; ++w) {
        const double harm = best[w - static_cast<std::size_t>(price)] + problem.harm[u][l];
        if (harm < next[w]) {
          next[w] = harm;
          choice[u][w] = static_cast<std::int16_t>(l);
        }
      }
    }
    best.swap(next);
  }
  Assignment levels(units);
  std::size_t w = width - 1;
  for (std::size_t u = units; u-- > 0;) {
    const auto level = static_cast<std::size_t>(choice[u][w]);
    levels[u] = static_cast<int>(level);
    w -= static_cast<std::size_t>((problem.cost[u][level] - base[u] + step - 1) / step);
  }
  fill(problem, levels);
  return finished(problem, std::move(levels));
}

Allocation allocate_lagrangian(const AllocationProblem& problem) {
  problem.validate();
  const auto choose = [&](double lambda) {
    Assignment levels(problem.units());
    for (std::size_t u = 0; u < problem.units(); ++u) {
      double best = infinity;
      for (std::size_t l = 0; l < problem.cost[u].size(); ++l) {
        if (!available(problem, u, l)) continue;
        const double value = problem.harm[u][l] + lambda * static_cast<double>(problem.cost[u][l]);
        if (value < best) {
          best = value;
          levels[u] = static_cast<int>(l);
        }
      }
    }
    return levels;
  };
  const auto dual = [&](const Assignment& levels, double lambda) {
    return problem.harm_of(levels) +
           lambda * (static_cast<double>(problem.cost_of(levels)) - static_cast<double>(problem.budget));
  };
  Assignment feasible = cheapest(problem);
  double bound = -infinity;
  const Assignment free_choice = choose(0);
  bound = dual(free_choice, 0);
  if (problem.cost_of(free_choice) <= problem.budget) {
    feasible = free_choice;
  } else {
    double low = 0, high = 1e-12;
    while (problem.cost_of(choose(high)) > problem.budget && high < 1e300) high *= 16;
    for (int i = 0; i < 100; ++i) {
      const double middle = low + (high - low) / 2;
      const Assignment levels = choose(middle);
      bound = std::max(bound, dual(levels, middle));
      if (problem.cost_of(levels) <= problem.budget) {
        feasible = levels;
        high = middle;
      } else {
        low = middle;
      }
    }
  }
  fill(problem, feasible);
  return finished(problem, std::move(feasible), bound);
}

}  // namespace laconic
