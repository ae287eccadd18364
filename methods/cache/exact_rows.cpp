#include "methods/cache/exact_rows.h"

#include <fmt/format.h>

#include "methods/cache/cache_method.h"
#include "runtime/cache/exact_store.h"

namespace laconic {

MethodDescription exact_rows_method(DType dtype) {
  MethodDescription method;
  method.slug = exact_row_codec(dtype)->canonical();
  method.title = "Uncompressed cache";
  method.paper = "the reference";
  method.subject = "cache";
  method.summary = fmt::format("every key and value as {}", method.slug);
  CacheMethod cache =
      CacheMethod{{CacheAxis::bits}, false, true, false, [dtype](const Parameters&, const CacheRequest&) {
                    return [dtype](std::int64_t, KvStages& stages) {
                      stages.bits = exact_row_codec(dtype);
                      // Behind another stage it is that stage's window.
                      const bool alone = !stages.split && !stages.eviction && !stages.features;
                      if (alone) stages.window = {0, 64, 1, dtype};
                    };
                  }};
  cache.rows_stand_alone = true;
  method.cache = std::move(cache);
  return method;
}

}  // namespace laconic
