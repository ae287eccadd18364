// Making the base of CSKV for a model: calibration, factors of every layer's key and value projections, and
// their training by layer-wise reconstruction (steps 1 to 5 of card 20).
#pragma once

#include "methods/cache/cache_method.h"

namespace laconic::cskv {

inline constexpr int base_version = 2;

std::vector<ParameterSpec> latent_base_parameters();
CacheBaseResult make_latent_base(const CacheBaseRequest& request);

}  // namespace laconic::cskv
