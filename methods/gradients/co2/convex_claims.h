// Where training by local steps ends on a convex problem: logistic regression on full local gradients.
#pragma once

#include "methods/reproduce.h"

namespace laconic::co2 {

// Adds a table and curves of the relative gap to the least loss.
void convex_tables(const ReproduceRequest& request, ArmCache& cache, Reproduction& result);

}  // namespace laconic::co2
