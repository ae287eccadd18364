// SnapKV (Li et al. 2024, arXiv 2404.14469): the prompt's tokens that its last rows look at most, pooled over
// neighbouring positions so that a token comes with its surroundings. The paper compresses the prompt only
// (later=kept); by default later tokens compete for the same slots. Departure: at the ends of the prompt the
// pooled mean is over the positions that exist, where the published code counts zeros beyond them.
#include "engine/select/importance.h"
#include "methods/cache/slot_budget.h"
#include "methods/method.h"

namespace laconic {
namespace {

class LastRows final : public RankedEviction {
 public:
  LastRows(const SlotBudget& budget, std::int64_t pool) : RankedEviction(budget), pool_(pool) {}
  AttentionSumsForm sums() const override { return {false, budget().window(), 1}; }

 protected:
  std::vector<float> scores(const KvSlots& candidates, const EvictionStep&) const override {
    return pooled_scores(candidates.recent, candidates.positions, pool_);
  }

 private:
  std::int64_t pool_;
};

}  // namespace

MethodDescription describe_snapkv() {
  MethodDescription method;
  method.slug = "snapkv";
  method.title = "SnapKV: LLM Knows What You are Looking for Before Generation";
  method.paper = "Li, Huang, Yang et al., NeurIPS 2024, arXiv 2404.14469";
  method.subject = "cache";
  method.summary = "keeps the tokens that the last query rows look at most, pooled over neighbours";
  method.parameters = slot_parameters();
  method.parameters.push_back(pool_parameter("5"));
  method.cache = eviction_method([](const Parameters& p, const SlotBudget& budget, const CacheRequest&) {
    return std::make_shared<LastRows>(budget, pool_width(p));
  });
  return method;
}

}  // namespace laconic
