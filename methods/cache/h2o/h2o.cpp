// H2O (Zhang et al. 2023, arXiv 2306.14048): the tokens that all queries so far looked at most, by the plain
// sum of their attention weights, beside a window of recent tokens. Departure: slots and window are sized by
// the budget and the window that all policies here share, where the paper gives half of the budget to each.
#include "methods/cache/slot_budget.h"
#include "methods/method.h"

namespace laconic {
namespace {

class HeavyHitters final : public RankedEviction {
 public:
  using RankedEviction::RankedEviction;
  AttentionSumsForm sums() const override { return {true, 0, 1}; }

 protected:
  std::vector<float> scores(const KvSlots& candidates, const EvictionStep&) const override {
    return candidates.total;
  }
};

}  // namespace

MethodDescription describe_h2o() {
  MethodDescription method;
  method.slug = "h2o";
  method.title = "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models";
  method.paper = "Zhang, Sheng, Zhou et al., NeurIPS 2023, arXiv 2306.14048";
  method.subject = "cache";
  method.summary = "keeps the tokens with the largest sums of attention weights, and the recent ones";
  method.parameters = slot_parameters();
  method.cache = eviction_method([](const Parameters&, const SlotBudget& budget, const CacheRequest&) {
    return std::make_shared<HeavyHitters>(budget);
  });
  return method;
}

}  // namespace laconic
