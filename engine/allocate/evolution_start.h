// Where an evolutionary search begins, and which data judge a generation (EvoPress, arXiv 2410.14649).
//
//   bits       uniform when the target is a level; else several candidates, all at the next level above,
//   random units
//              lowered by one level until the cost fits (lowered_starts)
//   sparsity   the middle level everywhere
//   depth      random states with the wanted number of dropped units of each kind (random_drops)
// The candidates are judged once and the best becomes the first parent (best_start).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "engine/allocate/evolution.h"

namespace laconic {

// `count` assignments under `space.budget` by `space.cost`, each from `top` by lowering random units one
// level at a time. Throws Error(usage) naming the smallest possible cost when there is none.
std::vector<Assignment> lowered_starts(const EvolutionSpace& space, const Assignment& top, int count,
                                       std::uint64_t seed);

// `count` states with levels 1 (kept) and 0 (dropped): of group g exactly dropped[g] units are dropped.
// Throws Error(usage) when a group has fewer units.
std::vector<Assignment> random_drops(const std::vector<int>& group, const std::vector<int>& dropped,
                                     int count, std::uint64_t seed);

// The candidate of least fitness, the first of equal ones; NaN counts as infinity.
Assignment best_start(const std::vector<Assignment>& candidates,
                      const std::function<std::vector<double>(const std::vector<Assignment>&)>& fitness);

// One sequence of the calibration set, its first `tokens` tokens.
struct MinibatchPart {
  std::size_t sequence = 0;
  std::int64_t tokens = 0;
  bool operator==(const MinibatchPart&) const = default;
};

// Random distinct sequences, the last one cut, so that together they have exactly `tokens` tokens: fresh for
// every (generation, stage), the same for all candidates. Throws Error(usage) when the set has fewer tokens.
std::vector<MinibatchPart> draw_minibatch(const std::vector<std::int64_t>& sequence_tokens,
                                          std::int64_t tokens, std::uint64_t seed, int generation, int stage);

}  // namespace laconic
