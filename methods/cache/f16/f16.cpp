// Every row as f16 numbers.
#include "methods/cache/exact_rows.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_f16() { return exact_rows_method(DType::f16); }

}  // namespace laconic
