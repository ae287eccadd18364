// Card 01, part b: controlled averaging on MNIST over uneven clients, by accuracy against uplink: SCAFCOM on
// the card's small network, and both methods on the library's perceptron over 200 clients of Dirichlet(0.3).
#pragma once

#include <cstdint>
#include <vector>

#include "methods/reproduce.h"

namespace laconic {

// Adds claims, tables, curves and notes to `result`.
void controlled_pictures(const ReproduceRequest& request, ArmCache& cache,
                         const std::vector<std::uint64_t>& seeds, bool scallion, Reproduction& result);

}  // namespace laconic
