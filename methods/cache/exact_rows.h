// Caches that keep every number, in one of three types: the references of all others.
#pragma once

#include "engine/tensor/dtype.h"
#include "methods/method.h"

namespace laconic {

MethodDescription exact_rows_method(DType dtype);

}  // namespace laconic
