// StreamingLLM (Xiao et al. 2023, arXiv 2309.17453): the first few tokens, which collect attention whatever
// they say, and the most recent ones. Departure: keys keep the positions of their tokens, where the paper
// numbers the tokens of the cache anew; within the context that a model was trained for the two differ in the
// distance to the first tokens only. sinks=0 is a plain sliding window.
#include "methods/cache/slot_budget.h"
#include "methods/method.h"

namespace laconic {
namespace {

class SinksAndRecent final : public RankedEviction {
 public:
  SinksAndRecent(const SlotBudget& budget, std::int64_t sinks) : RankedEviction(budget), sinks_(sinks) {}
  AttentionSumsForm sums() const override { return {}; }

 protected:
  // The first tokens before all others, and of those the most recent ones.
  std::vector<float> scores(const KvSlots& candidates, const EvictionStep&) const override {
    std::vector<float> scores;
    for (const std::int32_t position : candidates.positions)
      scores.push_back(position < sinks_ ? 1.0f : static_cast<float>(position - candidates.positions.back()));
    return scores;
  }

 private:
  std::int64_t sinks_;
};

}  // namespace

MethodDescription describe_sliding_window() {
  MethodDescription method;
  method.slug = "sliding-window";
  method.title = "Efficient Streaming Language Models with Attention Sinks";
  method.paper = "Xiao, Tian, Chen, Han, Lewis, ICLR 2024, arXiv 2309.17453";
  method.subject = "cache";
  method.summary = "keeps the first few tokens and the most recent ones";
  method.parameters = slot_parameters();
  method.parameters.push_back(
      {"sinks", ParameterSpec::Type::integer, "4", 0, 4096, {}, "first tokens that are kept"});
  method.cache = eviction_method([](const Parameters& p, const SlotBudget& budget, const CacheRequest&) {
    return std::make_shared<SinksAndRecent>(budget, p.integer("sinks"));
  });
  return method;
}

}  // namespace laconic
