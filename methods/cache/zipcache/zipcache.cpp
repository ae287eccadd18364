// ZipCache (He et al. 2024, arXiv 2405.14256): tokens that queries look at get more bits than the others, on
// grids with few parameters. What the published code does otherwise is behind fidelity=official; by default
// - probes are distinct rows, and a token's score is divided by the probes that see it;
// - a block stays as it was encoded: the published code decodes and encodes the whole cache every 100 tokens;
// - later tokens are judged by the mean of the last 5 softmax rows, not by one;
// - the newest tokens stay exact, and a value grid runs over one head where that has 64 channels or more.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "engine/base/error.h"
#include "methods/cache/cache_method.h"
#include "methods/cache/zipcache/mixed_rows.h"
#include "methods/cache/zipcache/reproduce.h"
#include "methods/cache/zipcache/salient_tokens.h"
#include "methods/method.h"

namespace laconic {
namespace {

std::vector<ParameterSpec> zipcache_parameters() {
  using Type = ParameterSpec::Type;
  return {
      {"bits", Type::list, "4,2", 2, 16, {}, "bits of salient tokens and of the others; 16 keeps f16"},
      {"ratio", Type::number, "0.6", 0, 1, {}, "share of tokens that are salient"},
      {"saliency",
       Type::choice,
       "normalised",
       0,
       0,
       {"normalised", "accumulated", "random", "full"},
       "normalised: attention of probe rows over those that see a token; full: of all rows; accumulated: "
       "plain sums of all rows"},
      {"recent", Type::number, "0.05", 0, 1, {}, "probes among the last rows, as a share of the prompt"},
      {"random", Type::number, "0.05", 0, 1, {}, "probes among the rows before, as a share of the prompt"},
      {"own", Type::boolean, "true", 0, 0, {}, "whether a probe counts for its own token"},
      {"keys",
       Type::choice,
       "channel",
       0,
       0,
       {"channel", "cst"},
       "grids of keys: one for each channel, or as of values"},
      {"cst", Type::boolean, "true", 0, 0, {}, "values are divided by channel scales before their grids"},
      {"span",
       Type::choice,
       "auto",
       0,
       0,
       {"auto", "head", "all"},
       "a token's value grid runs over a head or all heads; auto: a head of 64 channels or more"},
      {"flush", Type::integer, "100", 1, 65536, {}, "later tokens that are compressed at a time"},
      {"steps", Type::integer, "5", 1, 64, {}, "last softmax rows that judge later tokens; official: 1"},
      {"fidelity",
       Type::choice,
       "corrected",
       0,
       0,
       {"corrected", "official"},
       "official: as the published code, which encodes the whole cache anew every time"}};
}

std::pair<int, int> class_bits(const Parameters& p) {
  constexpr std::array allowed = {2, 3, 4, 8, 16};
  const std::vector<double> bits = p.list("bits");
  const auto known = [&](double b) { return std::find(allowed.begin(), allowed.end(), b) != allowed.end(); };
  if (bits.size() != 2 || !known(bits[0]) || !known(bits[1]) || bits[0] < bits[1]) {
    fail(ErrorKind::usage,
         fmt::format("bits={} are not those of salient and other tokens", fmt::join(bits, ",")), "zipcache",
         "give two of 2, 3, 4, 8 and 16, the larger first, such as bits=4,2");
  }
  return {static_cast<int>(bits[0]), static_cast<int>(bits[1])};
}

SaliencyRule saliency_rule(const Parameters& p) {
  using Score = SaliencyRule::Score;
  SaliencyRule rule;
  const std::string& score = p.text("saliency");
  rule.score = score == "full"          ? Score::full
               : score == "accumulated" ? Score::accumulated
               : score == "random"      ? Score::random
                                        : Score::normalised;
  rule.ratio = p.number("ratio");
  rule.recent = p.number("recent");
  rule.random = p.number("random");
  if (rule.score == Score::normalised && rule.recent == 0 && rule.random == 0) {
    fail(ErrorKind::usage, "there are no probes", "zipcache",
         "give recent or random a share of the prompt, or use saliency=full");
  }
  rule.official = p.text("fidelity") == "official";
  rule.own = p.boolean("own");
  if (rule.official && !rule.own) {
    fail(ErrorKind::usage, "the published code counts a probe for its own token", "zipcache",
         "write own=true, or fidelity=corrected");
  }
  rule.steps = rule.official && !p.is_set("steps") ? 1 : p.integer("steps");
  return rule;
}

CacheStageMaker zipcache_stages(const Parameters& p, const CacheRequest& request) {
  const SaliencyRule rule = saliency_rule(p);
  MixedRowForm form;
  std::tie(form.high, form.low) = class_bits(p);
  form.keys = p.text("keys") == "channel" ? MixedRowForm::KeyAxis::channel : MixedRowForm::KeyAxis::cst;
  form.channel_scales = p.boolean("cst");
  const std::string& span = p.text("span");
  form.span = span == "head"                                          ? MixedRowForm::GridSpan::head
              : span == "all" || (rule.official && !p.is_set("span")) ? MixedRowForm::GridSpan::all_heads
                                                                      : MixedRowForm::GridSpan::automatic;
  const auto codec = mixed_row_codec(p.canonical("zipcache"), form);
  return [codec, rule, shape = request.shape, seed = request.seed, flush = p.integer("flush")](
             std::int64_t layer, KvStages& stages) {
    stages.split = salient_tokens(shape, layer, rule, seed);
    stages.bits = codec;
    stages.window.flush = flush;
    if (rule.official) stages.window.exact = 0;
  };
}

}  // namespace

MethodDescription describe_zipcache() {
  MethodDescription method;
  method.slug = "zipcache";
  method.card = 43;
  method.title = "ZipCache: Accurate and Efficient KV Cache Quantization with Salient Token Identification";
  method.paper = "He, Zhang, Wu, Liu, Zhou, Zhuang, NeurIPS 2024, arXiv 2405.14256";
  method.subject = "cache";
  method.summary = "4 bits for tokens that queries look at, 2 for the others, on grids with few parameters";
  method.parameters = zipcache_parameters();
  method.cache = CacheMethod{
      {CacheAxis::tokens, CacheAxis::bits}, false, true, false, zipcache_stages, [](const Parameters& p) {
        return sizes_by(p, "bits", {"8,8", "8,4", "8,2", "4,4", "4,3", "4,2", "3,2", "2,2"});
      }};
  method.reproduce = zipcache::reproduce;
  return method;
}

}  // namespace laconic
