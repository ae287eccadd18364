// The policy of EMS (Li et al. 2024, arXiv 2412.08521), numbered as in its steps.
#pragma once

#include <memory>

#include "engine/select/evict_merge.h"
#include "engine/select/importance.h"
#include "methods/cache/slot_budget.h"
#include "runtime/rope.h"

namespace laconic {

struct EmsForm {
  ImportanceRule rule = ImportanceRule::sum;
  float global_weight = 1;
  bool visible_rows = true;  // global scores are divided by the rows that see the token
  std::int64_t pool = 1;     // positions that local scores are averaged over
  double merge_pool = 1;     // tokens that may be merged, per centre
  float threshold = 0.6f;    // of the zero class; 1 or more: nothing is merged
  bool clamp = true;
  bool distinct = false;  // a token that resembles a more important one is merged before it takes a slot
  MergeForm merge;
  bool positions = false;     // keys are compared and merged as they are turned by their positions
  bool count_bias = false;    // a merged slot keeps the attention of its members
  bool shared_slots = false;  // heads compete for the slots of their layer
  double least_share = 0.2;   // of the mean number of slots, that a head keeps when they do
};

class EmsPolicy final : public TokenEviction {
 public:
  // `rope` may be null: keys are then taken as they are.
  EmsPolicy(const EmsForm& form, const SlotBudget& budget, std::shared_ptr<const RopeTable> rope)
      : form_(form), budget_(budget), rope_(std::move(rope)) {}

  AttentionSumsForm sums() const override;
  std::int64_t capacity(const EvictionStep& step) const override { return budget_.slots(step); }
  bool rewrites() const override { return !budget_.keeps_later(); }
  void set_window(WindowPolicy& window) const override { budget_.set_window(window); }
  bool uneven() const override { return form_.shared_slots; }
  std::vector<KeptSlots> keep(const std::vector<KvSlots>& heads, const EvictionStep& step) const override;

 private:
  std::vector<float> scores(const KvSlots& candidates, const EvictionStep& step) const;
  KeptSlots merged(const KvSlots& candidates, const std::vector<float>& importance,
                   std::int64_t centres) const;
  // Candidates that stay, ascending; others that may go into them; and where each of these goes.
  struct Groups {
    std::vector<std::int64_t> centres, members;
    std::vector<std::int32_t> centre_of;  // per member
  };
  Groups grouped(const KvSlots& candidates, const std::vector<float>& importance, std::int64_t centres) const;
  HeadMatrix compared_keys(const KvSlots& candidates, std::span<const std::int64_t> rows) const;

  EmsForm form_;
  SlotBudget budget_;
  std::shared_ptr<const RopeTable> rope_;
};

}  // namespace laconic
