// Card 08's claims at small scale, for MASHA1 and MASHA2: the bilinear saddle point, robust logistic
// regression on LIBSVM sets, and networks of pictures that are trained against attacks.
#pragma once

#include "methods/reproduce.h"

namespace laconic::masha {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::masha
