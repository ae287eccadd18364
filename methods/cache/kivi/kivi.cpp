// KIVI (Liu et al. 2024, arXiv 2402.02750): keys on grids of a channel over groups of tokens, values on grids
// of a token over groups of channels; the newest tokens stay exact.
#include "methods/cache/cache_method.h"
#include "methods/cache/uniform_rows.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_kivi() {
  MethodDescription method;
  method.slug = "kivi";
  method.title = "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache";
  method.paper = "Liu, Yuan, Jin, Zhong, Xu, Braverman, Chen, Hu, ICML 2024, arXiv 2402.02750";
  method.subject = "cache";
  method.summary = "keys per channel over groups of tokens, values per token over groups of channels";
  method.parameters = {
      {"bits", ParameterSpec::Type::integer, "4", 1, 8, {}, "bits of a number"},
      {"group", ParameterSpec::Type::integer, "32", 4, 4096, {}, "tokens or channels that share a grid"}};
  method.cache = CacheMethod{{CacheAxis::bits},
                             false,
                             true,
                             false,
                             [](const Parameters& p, const CacheRequest&) -> CacheStageMaker {
                               UniformRowForm values;
                               values.bits = static_cast<int>(p.integer("bits"));
                               values.group = p.integer("group");
                               UniformRowForm keys = values;
                               keys.axis = UniformRowForm::Axis::channel;
                               const auto codec = uniform_row_codec(p.canonical("kivi"), keys, values);
                               return [codec, group = values.group](std::int64_t, KvStages& stages) {
                                 stages.bits = codec;
                                 stages.window.flush = group;  // a grid of keys is never left half full
                                 stages.window.granule = group;
                               };
                             },
                             [](const Parameters& p) {
                               return sizes_by(p, "bits", {"8", "6", "5", "4", "3", "2", "1"});
                             }};
  return method;
}

}  // namespace laconic
