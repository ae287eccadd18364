// The small-scale reproduction of card 43.
#pragma once

#include "methods/reproduce.h"

namespace laconic::zipcache {

Reproduction reproduce(const ReproduceRequest& request);

}  // namespace laconic::zipcache
