// EvoPress (Sieberling et al. 2024, arXiv 2410.14649): an elitist (1 + lambda) evolutionary search over
// assignments whose cost stays within a budget by construction, with selection in several stages of growing
// effort.
//
// Mutation: flips = min(U{1..F}, U{1..F}), F = max_flips (3: P(1) = 5/9, P(2) = 3/9, P(3) = 1/9).
//   size   each flip picks a group, then one member that can go down a level and, independently, one that can
//          go up, and moves both; groups hold units of equal size, so the cost is preserved exactly
//   none   `flips` random units go up, then random units go down until the cost fits; rejected when more than
//          ten levels changed in total or the cost added is below 0.8 of the cost removed
//   swap   a kind (group) with equal probability, then one unit that is kept is dropped and one that is
//          dropped is restored
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "engine/allocate/problem.h"
#include "engine/base/bytes.h"
#include "engine/base/progress.h"
#include "engine/base/random.h"

namespace laconic {

enum class MutationRule { size, none, swap };

struct EvolutionSpace {
  std::vector<int> levels;  // number of levels of each unit; higher costs more
  // [unit][level]; needed by rule none. Where rule size has costs too, no child may be over the budget: units
  // of one group may differ by a few bytes of side information.
  std::vector<std::vector<std::uint64_t>> cost;
  std::uint64_t budget = 0;
  std::vector<int> group;  // of each unit, 0 .. groups - 1
  MutationRule rule = MutationRule::size;
  int max_flips = 3;
  std::function<bool(std::size_t unit, int level)> exists;  // null: every level is available

  bool has(std::size_t unit, int level) const {
    return level >= 0 && level < levels[unit] && (!exists || exists(unit, level));
  }
};

struct EvolutionOptions {
  int generations = 150;
  int offspring = 128;
  std::vector<int> survivors = {16, 4, 1};  // per stage; the last must be 1
  std::uint64_t seed = 0;
  ProgressListener progress;
};

// Fitness of candidates in one stage of one generation, lower is better; NaN counts as infinity. All
// candidates of a call are judged on the same data, which the callback draws afresh for every (generation,
// stage).
using StageFitness =
    std::function<std::vector<double>(const std::vector<Assignment>& candidates, int stage, int generation)>;
// Fitness on one common set, for the archive of the best; null: no archive, the last parent is the result.
using CommonFitness = std::function<double(const Assignment& candidate)>;

struct EvolutionState {
  Assignment parent;
  int generation = 0;  // finished ones
  Assignment best;     // by the common fitness
  double best_fitness = 0;
  std::vector<double>
      history;  // fitness of the parent after each generation, on that generation's last stage
};

EvolutionState start_evolution(Assignment parent, const CommonFitness& common = nullptr);
// Runs until options.generations are finished; `checkpoint` (may be null) is called after each. A state that
// was saved by it continues with the same result as an unbroken run.
void evolve(EvolutionState& state, const EvolutionSpace& space, const EvolutionOptions& options,
            const StageFitness& fitness, const CommonFitness& common = nullptr,
            const std::function<void(const EvolutionState&)>& checkpoint = nullptr);

// The whole state as bytes with a checksum, for a file that a later run resumes from. Reading throws
// Error(corrupt) on anything that save_evolution does not write.
Bytes save_evolution(const EvolutionState& state);
EvolutionState load_evolution(ByteSpan bytes, std::string_view where);

// One mutated copy, or an empty assignment when no legal move was found.
Assignment mutate(const Assignment& parent, const EvolutionSpace& space, RandomStream& random);

}  // namespace laconic
