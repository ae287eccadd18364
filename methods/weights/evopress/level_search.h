// Bits and sparsity: which level of a database of variants every linear layer gets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/allocate/evolution.h"
#include "methods/method.h"
#include "methods/weights/evopress/level_methods.h"
#include "methods/weights/evopress/variant_space.h"

namespace laconic::evopress {

// The evolution space of a database under a byte budget. rule size: switches between layers of equal size
// (bits), or between any two, whose levels are cost-equal (sparsity).
EvolutionSpace bits_space(const VariantSpace& variants, ByteBudget::Counts counts, std::uint64_t budget,
                          MutationRule rule);
EvolutionSpace sparsity_space(const VariantSpace& variants, const SparsityLevels& levels,
                              ByteBudget::Counts counts, std::uint64_t budget);

// Bytes of an average code width over all weights, between the uniform assignments next to it: 2.5 is half
// way from all at 2 to all at 3 bits, scales included. Throws Error(usage) with the feasible range.
std::uint64_t bytes_at_width(const VariantSpace& variants,
                             const std::vector<std::vector<std::uint64_t>>& costs,
                             const std::vector<int>& bits, double width);

// Where the search begins: uniform when a uniform level uses the budget up, else sampled and (ours) the
// simple mixes, which the best of a few random ones rarely beats. Throws Error(usage) naming the smallest
// cost when the budget lies below it.
std::vector<Assignment> level_starts(const EvolutionSpace& space, int count, std::uint64_t seed);
// `count` assignments lowered at random from the uniform level above the budget.
std::vector<Assignment> sampled_starts(const EvolutionSpace& space, int count, std::uint64_t seed);
// The highest uniform level that fits, then units raised by one in this order while the budget allows it.
Assignment raised_start(const EvolutionSpace& space, const std::vector<std::size_t>& order);
// The orders of simple mixes: "first half", "last half", "alternating".
std::vector<std::size_t> pattern_order(const std::string& name, std::size_t units);
// By dynamic programming on harm[unit][level].
Assignment planned_start(const EvolutionSpace& space, std::vector<std::vector<double>> harm);

CompressionResult compress_levels(const CompressionRequest& request);

}  // namespace laconic::evopress
