#include "methods/cache/slot_budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/threads.h"
#include "engine/math/top_k.h"
#include "engine/select/importance.h"

namespace laconic {

SlotBudget::SlotBudget(const Parameters& parameters, const CacheRequest& request)
    : budget_(parameters.integer("budget")),
      ratio_(parameters.number("ratio")),
      flush_(parameters.integer("flush")),
      keeps_later_(parameters.text("later") == "kept") {
  const std::int64_t window = parameters.integer("window");
  if (flush_ > window) {
    fail(ErrorKind::usage, fmt::format("flush={} takes more tokens than window={} holds", flush_, window),
         "--cache", "make flush smaller than the window");
  }
  exact_ = request.window.value_or(window - flush_);
  if (ratio_ > 0 && parameters.is_set("budget")) {
    fail(ErrorKind::usage, "budget and ratio are both given", "--cache",
         "give the number of rows per head, or their share of the prompt");
  }
  if (ratio_ == 0 && budget_ <= this->window()) {
    fail(
        ErrorKind::usage,
        fmt::format("budget={} leaves no slot beside the exact window of {} tokens", budget_, this->window()),
        "--cache", fmt::format("give a budget of at least {}, or a smaller window", this->window() + 1));
  }
}

std::int64_t SlotBudget::slots(const EvictionStep& step) const {
  if (keeps_later_ && !step.prompt_rows) return TokenEviction::unbounded;
  const std::int64_t rows = ratio_ > 0 ? count_of(step.prompt, ratio_, CountRule::nearest, 0) : budget_;
  return std::max<std::int64_t>(1, rows - window());
}

std::vector<ParameterSpec> slot_parameters() {
  using Type = ParameterSpec::Type;
  return {
      {"budget", Type::integer, "256", 2, 1 << 24, {}, "rows per head at any time, the window included"},
      {"ratio", Type::number, "0", 0, 1, {}, "the budget as a share of the prompt's tokens; 0: see budget"},
      {"window", Type::integer, "32", 1, 1 << 16, {}, "most recent tokens that are kept exactly, at most"},
      {"flush", Type::integer, "16", 1, 1 << 16, {}, "how many of them leave when the window is full"},
      {"later",
       Type::choice,
       "bounded",
       0,
       0,
       {"bounded", "kept"},
       "tokens after the prompt: compete for the slots, or are all kept"}};
}

std::vector<Parameters> slot_sizes(const Parameters& parameters) {
  if (parameters.is_set("budget") || parameters.is_set("ratio")) return {parameters};
  std::vector<Parameters> sizes;
  for (double ratio = 1; ratio > 1.0 / 256; ratio *= 0.95) {
    sizes.push_back(parameters);
    sizes.back().set("ratio", fmt::format("{:.4f}", ratio));
  }
  return sizes;
}

std::vector<KeptSlots> RankedEviction::keep(const std::vector<KvSlots>& heads,
                                            const EvictionStep& step) const {
  std::vector<KeptSlots> kept(heads.size());
  parallel_for(static_cast<std::int64_t>(heads.size()), [&](std::int64_t head) {
    const auto h = static_cast<std::size_t>(head);
    const std::vector<float> of_head = scores(heads[h], step);
    check_scores(of_head, step);
    std::vector<std::int64_t> rows = ranked(of_head, capacity(step));
    std::sort(rows.begin(), rows.end());
    kept[h] = kept_rows(heads[h], rows);
  });
  return kept;
}

CacheMethod eviction_method(EvictionMaker make) {
  CacheMethod method;
  method.axes = {CacheAxis::tokens};
  method.rewrites_rows = true;
  method.make = [make = std::move(make)](const Parameters& parameters,
                                         const CacheRequest& request) -> CacheStageMaker {
    const SlotBudget budget(parameters, request);
    return [budget, policy = make(parameters, budget, request)](std::int64_t, KvStages& stages) {
      stages.eviction = policy;
      stages.window.flush = budget.flush();
    };
  };
  method.sizes = slot_sizes;
  return method;
}

ParameterSpec pool_parameter(std::string default_value) {
  return {"pool",
          ParameterSpec::Type::integer,
          std::move(default_value),
          1,
          63,
          {},
          "positions that recent scores are averaged over, an odd number"};
}

std::int64_t pool_width(const Parameters& parameters) {
  const std::int64_t width = parameters.integer("pool");
  if (width % 2 == 0) {
    fail(ErrorKind::usage, fmt::format("pool={} has no middle", width), "--cache",
         fmt::format("give an odd number, {} say", width + 1));
  }
  return width;
}

void check_scores(const std::vector<float>& scores, const EvictionStep& step) {
  if (all_finite(scores)) return;
  fail(ErrorKind::input, fmt::format("attention scores of layer {} are not finite", step.layer), "KV cache",
       "the model's weights or its input are damaged");
}

}  // namespace laconic
