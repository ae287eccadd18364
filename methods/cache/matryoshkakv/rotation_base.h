// Making the base of MatryoshkaKV for a model: statistics of keys and values, bases from them, training
// through the frozen model, and the order in which ranks are lowered (steps 1, 4, 5 and 6 of card 62).
#pragma once

#include "methods/cache/cache_method.h"

namespace laconic::matryoshkakv {

inline constexpr int base_version = 2;

std::vector<ParameterSpec> rotation_base_parameters();
CacheBaseResult make_rotation_base(const CacheBaseRequest& request);

}  // namespace laconic::matryoshkakv
