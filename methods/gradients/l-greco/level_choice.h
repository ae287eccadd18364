// A level for every layer, from what each level costs and loses: L-GreCo's dynamic programme and what it is
// compared with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/allocate/error_budget.h"

namespace laconic::l_greco {

enum class Planner {
  dynamic,            // least bytes within the error of the default level at every layer
  uniform,            // the default level at every layer
  greedy,             // the bytes of dynamic, spent by the greatest drop of error per byte
  random,             // levels drawn at random that spend the bytes of dynamic, or `spend`
  accordion,          // coarsest where a layer's norm is steady, default where it changes
  accordion_dynamic,  // least bytes within the error of accordion's levels
};
Planner planner_named(std::string_view name);  // Error(usage)
std::vector<std::string> planner_names();

struct ChoiceSettings {
  Planner planner = Planner::dynamic;
  double alpha = 1;  // of the error of the default level
  std::int64_t buckets = 10000;
  bool squares = false;  // errors of layers add up as squares
  double eta = 0.5;      // accordion: a norm that changes by less than this share is steady
  double spend = 0;      // random: its bytes, as a share of the default level's; 0: those of dynamic
  std::uint64_t seed = 0;
};

struct LevelChoice {
  bool keep = false;  // nothing to choose by (all gradients zero): the levels stay
  Assignment levels;
  std::uint64_t bytes = 0, default_bytes = 0;
  double error = 0, default_error = 0;  // sums (of squares, where those are asked for)
  // By layer.
  std::vector<std::uint64_t> layer_bytes;
  std::vector<double> layer_errors;
  bool feasible = true;
};

// `table`: costs and errors || g - C(g) ||_F of every layer and level. `norms` of the layers now and at the
// choice before (empty at the first). Throws Error(usage) on alpha <= 0, buckets < 1, an empty table and a
// default level that is not in it.
LevelChoice choose_levels(AllocationProblem table, std::size_t default_level, const ChoiceSettings& settings,
                          const std::vector<double>& norms = {},
                          const std::vector<double>& norms_before = {});

}  // namespace laconic::l_greco
