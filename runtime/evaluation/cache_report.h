// What every layer and head of a cache holds, and how far it is from the exact rows.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cache/kv_cache.h"

namespace laconic {

struct CacheHeadReport {
  std::int64_t layer = 0, head = 0;
  std::int64_t compressed_rows = 0;  // rows of its blocks (merged ones count once)
  std::int64_t window_rows = 0;
  double key_error = 0, value_error = 0;  // |x - x_hat|^2 / |x|^2 over compressed rows; 0 without a reference
};

struct CacheLayerReport {
  std::int64_t layer = 0, tokens = 0, blocks = 0;
  KvBytes bytes;
};

struct CacheReport {
  std::vector<CacheLayerReport> layers;
  std::vector<CacheHeadReport> heads;
};

// `exact`: an exact cache of the same tokens, or null.
CacheReport report_cache(const KvCache& cache, const KvCache* exact);

}  // namespace laconic
