// The claims of card 50 at small scale.
#pragma once

#include "methods/reproduce.h"

namespace laconic {

Reproduction reproduce_decoupleq(const ReproduceRequest& request);

// Rows of six columns at two bits against all 4^6 codes with their least-squares grids, `layers` random
// moments (mean of x x^T over 64 Gaussian inputs): means over layers of loss / optimum.
// Numbers: "card" (the paper's steps), "default" (this method's starts and polish), "gptq" (on min-max
// grids).
ArmNumbers decoupleq_against_exhaustive(int layers);

}  // namespace laconic
