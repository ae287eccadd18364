// Card 03's claims at small scale: noisy heterogeneous quadratics, and logistic regression on LIBSVM sets.
#pragma once

#include "methods/reproduce.h"

namespace laconic::econtrol {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::econtrol
