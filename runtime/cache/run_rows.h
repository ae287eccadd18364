// Keys and values of a run of tokens, gathered from a cache that keeps every token in its order.
#pragma once

#include "runtime/cache/kv_codec.h"

namespace laconic {

struct RunRows {
  HeadMatrices keys, values;  // keys turned by their positions
};
// Tokens [begin, end) of a layer. Requires blocks whose rows are consecutive tokens.
RunRows run_rows(const KvLayerState& state, std::int64_t begin, std::int64_t end);

}  // namespace laconic
