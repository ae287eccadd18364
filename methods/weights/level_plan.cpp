#include "methods/weights/level_plan.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Bytes of a variant that the budget counts; for files those that do not depend on other units.
std::uint64_t cost_of(const Variant& variant, ByteBudget::Counts counts) {
  return counts == ByteBudget::Counts::payloads
             ? variant.frame_bytes
             : variant.stored_bytes() + variant.description.description.size();
}

std::uint64_t frames_of(const VariantDatabase& database, const Assignment& levels) {
  std::uint64_t sum = 0;
  std::size_t at = 0;
  for (const std::string& name : database.units()) {
    sum += database.unit(name).levels[static_cast<std::size_t>(levels[at++])].frame_bytes;
  }
  return sum;
}

}  // namespace

std::optional<ByteBudget> byte_budget(const SizeTarget& target, const SafetensorsDirectory& source,
                                      std::int64_t compressed_weights) {
  if (target.bits.has_value() + target.ratio.has_value() + target.size.has_value() > 1) {
    fail(ErrorKind::usage, "only one of --bits, --ratio and --size can be asked for");
  }
  if (target.size) return ByteBudget{ByteBudget::Counts::files, *target.size};
  if (target.bits) {
    return ByteBudget{ByteBudget::Counts::payloads,
                      static_cast<std::uint64_t>(*target.bits / 8 * static_cast<double>(compressed_weights))};
  }
  if (target.ratio) {
    double numbers = 0;
    for (const std::string& name : source.names())
      numbers += static_cast<double>(source.tensor(name).elements());
    return ByteBudget{ByteBudget::Counts::files, static_cast<std::uint64_t>(2 * numbers / *target.ratio)};
  }
  return std::nullopt;
}

std::map<std::string, DescribedTensor> descriptions_of(const VariantDatabase& database,
                                                       const Assignment& levels) {
  std::map<std::string, DescribedTensor> result;
  std::size_t at = 0;
  for (const std::string& name : database.units()) {
    result[name] = database.unit(name).levels.at(static_cast<std::size_t>(levels.at(at++))).description;
  }
  return result;
}

LevelPlan plan_levels(const VariantDatabase& database, const ByteBudget& budget,
                      const std::vector<std::vector<double>>& harm, const FilesOf& files_of) {
  AllocationProblem problem;
  problem.harm = harm;
  for (const std::string& name : database.units()) {
    std::vector<std::uint64_t>& costs = problem.cost.emplace_back();
    for (const Variant& variant : database.unit(name).levels)
      costs.push_back(cost_of(variant, budget.counts));
  }
  const bool files = budget.counts == ByteBudget::Counts::files;
  const auto exact = [&](const Assignment& levels) {
    return files ? files_of(descriptions_of(database, levels)) : frames_of(database, levels);
  };
  // The header is not quite additive (offsets have digits, its end is padded): what the costs leave out is
  // taken from the smallest choice, and corrected by what the exact size of a solution says.
  Assignment smallest;
  for (std::size_t u = 0; u < problem.units(); ++u) {
    std::size_t best = 0;
    for (std::size_t l = 1; l < problem.cost[u].size(); ++l) {
      if (problem.cost[u][l] < problem.cost[u][best]) best = l;
    }
    smallest.push_back(static_cast<int>(best));
  }
  const std::uint64_t least = exact(smallest), smallest_cost = problem.cost_of(smallest);
  if (least > budget.bytes) {
    const std::string what = files ? "the .safetensors files take {} bytes at least, asked for are {}"
                                   : "the compressed weights take {} bytes at least, asked for are {}";
    std::string advice = "ask for more";
    if (!files) {
      double weights = 0;
      for (const std::string& name : database.units()) {
        weights += static_cast<double>(database.unit(name).rows * database.unit(name).columns);
      }
      advice +=
          fmt::format(": the smallest is {:.4f} bits per weight", 8.0 * static_cast<double>(least) / weights);
    }
    fail(ErrorKind::usage, fmt::format(fmt::runtime(what), least, budget.bytes), "size",
         advice + ", or allow lower levels");
  }
  LevelPlan plan;
  plan.levels = smallest;
  plan.safetensors_bytes = least;
  std::uint64_t overhead = least - smallest_cost;
  for (int attempt = 0; attempt < 16 && budget.bytes - overhead >= smallest_cost; ++attempt) {
    problem.budget = budget.bytes - overhead;
    const Allocation found = allocate_dynamic(problem);
    const std::uint64_t size = exact(found.levels);
    if (size <= budget.bytes) {
      plan.levels = found.levels;
      break;
    }
    overhead += size - budget.bytes;
    if (overhead > budget.bytes) break;
  }
  plan.payload_bytes = frames_of(database, plan.levels);
  plan.safetensors_bytes = files_of(descriptions_of(database, plan.levels));
  plan.harm = problem.harm_of(plan.levels);
  return plan;
}

std::vector<std::vector<double>> layer_loss_harm(const VariantDatabase& database) {
  std::vector<std::vector<double>> harm;
  for (const std::string& name : database.units()) {
    const UnitVariants& unit = database.unit(name);
    std::vector<double>& row = harm.emplace_back();
    for (std::size_t level = 0; level < unit.levels.size(); ++level) {
      row.push_back(unit.relative_loss(level) * static_cast<double>(unit.rows * unit.columns));
    }
  }
  return harm;
}

}  // namespace laconic
