// Round to nearest on grids of a token: the usual quantised cache of serving engines.
#include "methods/cache/cache_method.h"
#include "methods/cache/uniform_rows.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_per_token() {
  MethodDescription method;
  method.slug = "per-token";
  method.title = "Per-token quantised cache";
  method.paper = "the common baseline";
  method.subject = "cache";
  method.summary = "keys and values on one grid for each token and group of channels";
  method.parameters = {
      {"bits", ParameterSpec::Type::integer, "8", 1, 8, {}, "bits of a number"},
      {"group",
       ParameterSpec::Type::integer,
       "0",
       0,
       4096,
       {},
       "channels that share a grid; 0: all of a head"},
      {"kind",
       ParameterSpec::Type::choice,
       "affine_min",
       0,
       0,
       {"affine_min", "symmetric", "symmetric_full"},
       "how levels are placed; symmetric_full with 4 bits in groups of 32 is q4_0"},
      {"joint", ParameterSpec::Type::boolean, "false", 0, 0, {}, "grids run over all heads of a token"}};
  CacheMethod cache{{CacheAxis::bits},
                    false,
                    true,
                    false,
                    [](const Parameters& p, const CacheRequest&) -> CacheStageMaker {
                      UniformRowForm form;
                      form.bits = static_cast<int>(p.integer("bits"));
                      form.group = p.integer("group");
                      form.joint = p.boolean("joint");
                      form.kind = grid_kind_named(p.text("kind"));
                      const auto codec = uniform_row_codec(p.canonical("per-token"), form, form);
                      return [codec](std::int64_t, KvStages& stages) { stages.bits = codec; };
                    },
                    [](const Parameters& p) {
                      return sizes_by(p, "bits", {"8", "6", "5", "4", "3", "2"});
                    }};
  cache.rows_stand_alone = true;
  method.cache = std::move(cache);
  return method;
}

}  // namespace laconic
