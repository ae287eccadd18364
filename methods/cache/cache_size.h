// The settings of a pipeline that fit a budget of bytes per token: the largest of those that the methods
// offer, never over.
#pragma once

#include <functional>
#include <vector>

#include "methods/cache/pipeline.h"

namespace laconic {

struct FittedCache {
  std::vector<CacheStageText> stages;
  double bytes_per_token = 0;  // measured
};

// `measure` gives bytes per token of a cache filled with the tokens that count. Error(usage) when even the
// smallest setting is over; it names the least that is possible.
FittedCache fit_cache(const std::vector<CacheStageText>& stages, const CacheRequest& request,
                      double bytes_per_token, const std::function<double(const CacheFactory&)>& measure);

// Bytes per token of the f16 cache: what ratios are against.
double dense_bytes_per_token(const KvShape& shape);

}  // namespace laconic
