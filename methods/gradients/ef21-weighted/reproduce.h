// Card 04's claims at small scale: rank-one quadratics with a chosen spread of smoothness, and logistic
// regression with a non-convex regulariser on LIBSVM sets.
#pragma once

#include "methods/reproduce.h"

namespace laconic::ef21_weighted {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::ef21_weighted
