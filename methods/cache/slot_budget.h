// What methods that keep a bounded number of tokens share: how many, beside which window, and what becomes of
// tokens that come after the prompt.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/codec/codec.h"
#include "methods/cache/cache_method.h"
#include "runtime/cache/token_eviction.h"

namespace laconic {

// A budget of B rows per KV head holds at every step, the exact window included. The window takes at most W
// of them: when it holds W rows, the oldest `flush` leave it, so that at least W - flush are always exact,
// and B - W slots are for the tokens before it.
class SlotBudget {
 public:
  // From the parameters of slot_parameters(). Error(usage) on a budget that leaves no slot, with the least
  // one.
  SlotBudget(const Parameters& parameters, const CacheRequest& request);

  std::int64_t window() const { return exact_ + flush_; }  // W
  // Slots per head: B - W for the fixed budget; for a ratio of the prompt at least 1.
  std::int64_t slots(const EvictionStep& step) const;
  bool keeps_later() const { return keeps_later_; }
  // Where later tokens are all kept, the stage of bits may say how many of them leave the window at a time.
  void set_window(WindowPolicy& window) const {
    window.exact = exact_;
    if (!keeps_later_) window.flush = flush_;
  }
  std::int64_t flush() const { return flush_; }

 private:
  std::int64_t budget_ = 0;
  double ratio_ = 0;  // 0: budget_ counts
  std::int64_t exact_ = 0, flush_ = 0;
  bool keeps_later_ = false;
};

std::vector<ParameterSpec> slot_parameters();
// The same parameters at every budget that a fit may try.
std::vector<Parameters> slot_sizes(const Parameters& parameters);

// Keeps the rows with the highest scores; the policies that merge nothing are this and a score.
class RankedEviction : public TokenEviction {
 public:
  explicit RankedEviction(const SlotBudget& budget) : budget_(budget) {}
  std::int64_t capacity(const EvictionStep& step) const override { return budget_.slots(step); }
  bool rewrites() const override { return !budget_.keeps_later(); }
  void set_window(WindowPolicy& window) const override { budget_.set_window(window); }
  std::vector<KeptSlots> keep(const std::vector<KvSlots>& heads, const EvictionStep& step) const override;

 protected:
  virtual std::vector<float> scores(const KvSlots& candidates, const EvictionStep& step) const = 0;
  const SlotBudget& budget() const { return budget_; }

 private:
  SlotBudget budget_;
};

// The cache method of a policy that `make` makes of parameters, budget and request.
using EvictionMaker = std::function<std::shared_ptr<const TokenEviction>(const Parameters&, const SlotBudget&,
                                                                         const CacheRequest&)>;
CacheMethod eviction_method(EvictionMaker make);

// Positions that recent scores are averaged over, an odd number (engine/select/importance.h).
ParameterSpec pool_parameter(std::string default_value);
std::int64_t pool_width(const Parameters& parameters);  // Error(usage) on an even one

// Error(input) on scores that are not finite.
void check_scores(const std::vector<float>& scores, const EvictionStep& step);

}  // namespace laconic
