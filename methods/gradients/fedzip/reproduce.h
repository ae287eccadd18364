// Card 06 at small scale: real sizes beside the published way of counting on generated layers, and accuracy
// against real uplink bytes on MNIST.
#pragma once

#include "methods/reproduce.h"

namespace laconic::fedzip {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::fedzip
