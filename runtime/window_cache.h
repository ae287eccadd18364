// The cache of StreamingLLM (Xiao et al. 2024, "Efficient streaming language models with attention sinks"),
// with positions left as they are: the first tokens (sinks) and the last ones stay, what lies between is
// dropped. The baseline that every compressed cache must beat where old tokens matter.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/kv_cache.h"

namespace laconic {

// Before each append the cache is cut to `sinks` first and `window - rows` last tokens, at least none, so
// that a query that is appended alone sees the sinks and the last `window` tokens, itself among them; queries
// that are appended together see each other besides. A text appended at once is seen whole, and cut when the
// next token comes. truncate() throws Error(usage) where it would need dropped tokens.
std::unique_ptr<KvCache> make_window_cache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim,
                                           std::int64_t sinks, std::int64_t window);

}  // namespace laconic
