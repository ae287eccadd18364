// Every row as f32 numbers.
#include "methods/cache/exact_rows.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_f32() { return exact_rows_method(DType::f32); }

}  // namespace laconic
