// What the methods that send signs through owners have in common: their parameters, and the exchange they
// make.
#pragma once

#include <vector>

#include "engine/exchange/owned_sign_exchange.h"
#include "methods/gradients/training/exchange_method.h"

namespace laconic {

// scale, block, worker_error, owner_error, dense.
std::vector<ParameterSpec> sign_parameters(const char* default_scale);
OwnedSignSettings sign_settings(const ExchangeRequest& request);

}  // namespace laconic
