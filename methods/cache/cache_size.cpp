#include "methods/cache/cache_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::vector<Parameters> sizes_of(const CacheStageText& stage) {
  if (!stage.method->cache->sizes) return {stage.parameters};
  return stage.method->cache->sizes(stage.parameters);
}

}  // namespace

double dense_bytes_per_token(const KvShape& shape) {
  return static_cast<double>(2 * 2 * shape.layers * shape.kv_heads * shape.head_dim);
}

FittedCache fit_cache(const std::vector<CacheStageText>& stages, const CacheRequest& request,
                      double bytes_per_token, const std::function<double(const CacheFactory&)>& measure) {
  require(!stages.empty(), "a pipeline has stages");
  std::vector<std::vector<Parameters>> sizes;
  for (const CacheStageText& stage : stages) sizes.push_back(sizes_of(stage));
  FittedCache best;
  double smallest = std::numeric_limits<double>::infinity();
  std::vector<CacheStageText> tried = stages;
  const auto size_of_first = [&](std::size_t i) {
    tried.front().parameters = sizes.front()[i];
    const double size = measure(CacheFactory(tried, request));
    smallest = std::min(smallest, size);
    if (size <= bytes_per_token && (best.stages.empty() || size > best.bytes_per_token)) best = {tried, size};
    return size;
  };
  // The first stage's sizes fall, so its largest that fits is found by halving; the others are all tried.
  const std::function<void(std::size_t)> search = [&](std::size_t stage) {
    if (stage == stages.size()) {
      std::size_t low = 0, high = sizes.front().size();  // the first that fits lies in [low, high)
      while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (size_of_first(middle) <= bytes_per_token) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      return;
    }
    for (const Parameters& parameters : sizes[stage]) {
      tried[stage].parameters = parameters;
      search(stage + 1);
    }
  };
  search(1);
  if (best.stages.empty()) {
    fail(ErrorKind::usage,
         fmt::format("{} needs at least {:.1f} bytes per token here, the budget is {:.1f}",
                     canonical_text(stages), smallest, bytes_per_token),
         "--cache-budget",
         "raise the budget, take another method, or make the exact window smaller (--cache-window)");
  }
  return best;
}

}  // namespace laconic
