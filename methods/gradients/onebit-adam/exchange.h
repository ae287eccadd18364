// Exchange and optimiser of 1-bit Adam: gradients travel dense while the variance is learned, momenta as
// signs afterwards. The optimiser ends the warm-up, and tells the exchange.
#pragma once

#include <memory>
#include <vector>

#include "engine/exchange/owned_sign_exchange.h"
#include "methods/gradients/onebit-adam/frozen_variance_adam.h"
#include "methods/gradients/training/exchange_method.h"

namespace laconic::onebit_adam {

std::vector<ParameterSpec> parameters();

struct Parts {
  std::unique_ptr<OwnedSignExchange> exchange;
  std::unique_ptr<FrozenVarianceAdam> optimizer;  // must not outlive the exchange
};
Parts make_parts(const ExchangeRequest& request);
TrainingExchange make_exchange(const ExchangeRequest& request);

}  // namespace laconic::onebit_adam
