// Seeds of a reproduction: three, request.seed first; one when quick.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/reproduce.h"

namespace laconic {

std::vector<std::uint64_t> trial_seeds(const ReproduceRequest& request);

}  // namespace laconic
