// The claims of CO2 and of its neighbours at small scale (card 63; of card 57 the 8-bit means of DiLoCo).
#pragma once

#include "methods/reproduce.h"

namespace laconic::co2 {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::co2
