// What those see who make or use a method of this room: its description (methods/method.h) and the types
// behind its entries.
#pragma once

#include "methods/gradients/federated/federated_algorithm.h"
#include "methods/gradients/local/local_method.h"
#include "methods/gradients/training/exchange_method.h"
#include "methods/method.h"
