// Every row as bf16 numbers.
#include "methods/cache/exact_rows.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_bf16() { return exact_rows_method(DType::bf16); }

}  // namespace laconic
