// EMS: important tokens are centres, mildly important ones are merged into the centre that they resemble or
// dropped, the rest is dropped. What the paper leaves open (its equations are not public in what we could
// read) is chosen here and in engine/select. Departures: the global score is divided by the rows that see a
// token, since plain sums prefer early tokens whatever they say (norm=false: plain); the exact window shrinks
// to window - flush when it gives tokens away instead of growing to window + flush, so that the budget holds
// at every step; and the last rows after the prompt are kept as sums, one for each set of rows that count at
// the same times.
#include "methods/cache/ems/ems_policy.h"
#include "methods/cache/ems/reproduce.h"
#include "methods/method.h"

namespace laconic {
namespace {

ImportanceRule rule_named(const std::string& name) {
  return name == "sum"      ? ImportanceRule::sum
         : name == "max"    ? ImportanceRule::largest
         : name == "global" ? ImportanceRule::global
                            : ImportanceRule::local;
}

EmsForm form_of(const Parameters& p) {
  EmsForm form;
  form.rule = rule_named(p.text("score"));
  form.global_weight = static_cast<float>(p.number("weight"));
  form.visible_rows = p.boolean("norm");
  form.pool = pool_width(p);
  form.merge_pool = p.number("rho");
  form.threshold = static_cast<float>(p.number("tau"));
  form.clamp = p.boolean("clamp");
  form.distinct = p.text("centres") == "distinct";
  form.merge.keys = p.text("merge") == "both";
  form.merge.mean_norm = p.text("norms") == "mean";
  form.positions = p.text("pos") == "on";
  form.count_bias = p.boolean("bias");
  form.shared_slots = p.text("heads") == "shared";
  form.least_share = p.number("floor");
  return form;
}

}  // namespace

MethodDescription describe_ems() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "ems";
  method.card = 41;
  method.title =
      "EMS: Adaptive Evict-then-Merge Strategy for Head-wise KV Cache Compression Based on "
      "Global-Local Importance";
  method.paper = "Li, Li, Meng, Ma, Geng, Xia, Wang, 2024, arXiv 2412.08521";
  method.subject = "cache";
  method.summary = "a fixed number of slots per head: keeps important tokens, merges similar ones into them";
  method.parameters = slot_parameters();
  const std::vector<ParameterSpec> own = {
      {"score", Type::choice, "sum", 0, 0, {"sum", "max", "global", "local"}, "how scores become one"},
      {"weight", Type::number, "1", 0, 1000, {}, "of the global score beside the local one"},
      {"norm", Type::boolean, "true", 0, 0, {}, "global scores are divided by the rows that see a token"},
      pool_parameter("1"),
      {"rho", Type::number, "1", 0, 1024, {}, "tokens that may be merged, per centre; 0: none"},
      {"tau", Type::number, "0.6", 0, 2, {}, "less similar tokens are dropped; 1 or more: all of them"},
      {"clamp", Type::boolean, "true", 0, 0, {}, "a negative cosine is no similarity, even beside another"},
      {"centres",
       Type::choice,
       "ranked",
       0,
       0,
       {"ranked", "distinct"},
       "distinct: what resembles a more important token is merged before it takes a slot"},
      {"merge", Type::choice, "both", 0, 0, {"both", "values"}, "what is merged"},
      {"norms", Type::choice, "centre", 0, 0, {"centre", "mean"}, "norm of merged keys"},
      {"pos", Type::choice, "off", 0, 0, {"off", "on"}, "whether compared keys are turned by positions"},
      {"bias", Type::boolean, "false", 0, 0, {}, "merged slots keep the attention of all their tokens"},
      {"heads", Type::choice, "equal", 0, 0, {"equal", "shared"}, "slots of each head, or shared by a layer"},
      {"floor", Type::number, "0.2", 0, 1, {}, "share of the mean that a head keeps when slots are shared"}};
  method.parameters.insert(method.parameters.end(), own.begin(), own.end());
  method.cache =
      eviction_method([](const Parameters& p, const SlotBudget& budget, const CacheRequest& request) {
        return std::make_shared<EmsPolicy>(form_of(p), budget, request.shape.rope);
      });
  method.reproduce = ems::reproduce;
  return method;
}

}  // namespace laconic
