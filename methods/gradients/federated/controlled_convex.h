// Card 01, part c: controlled averaging on logistic regression over clients sorted by label, by its training
// gap, against what it is said to beat at equal uplink.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/reproduce.h"

namespace laconic {

// Adds claims, tables, curves and notes to `result`.
void controlled_convex(const ReproduceRequest& request, ArmCache& cache,
                       const std::vector<std::uint64_t>& seeds, bool scallion, Reproduction& result);

}  // namespace laconic
