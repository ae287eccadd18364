// Policies that keep a bounded number of rows per KV head: what they drop is lost, and what they merge lives
// on in the rows they keep. A policy sees all heads of a layer at once, so that heads may share one budget.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "runtime/cache/kv_codec.h"

namespace laconic {

// Candidates of one KV head, in position order: the slots so far, then the tokens that leave the window.
struct KvSlots {
  HeadMatrix keys, values;              // keys turned by their positions
  std::vector<std::int32_t> positions;  // ascending
  std::vector<std::int32_t> first;  // earliest token that a row stands for: its own where nothing was merged
  std::vector<float> log_weights;   // empty: none
  // Sums of attention weights: of all query rows, and of the last few; empty where sums() has them not.
  std::vector<float> total, recent;

  std::int64_t rows() const { return static_cast<std::int64_t>(positions.size()); }
};

// What a policy made of the candidates of one head.
struct KeptSlots {
  HeadMatrix keys, values;
  std::vector<std::int32_t> positions;  // ascending
  std::vector<float> log_weights;       // empty: none
  // Per candidate: the kept row that it is or went into; -1: dropped.
  std::vector<std::int32_t> slot_of;
};

struct EvictionStep {
  std::int64_t layer = 0;
  std::int64_t seen = 0;     // tokens that went through the layer
  std::int64_t prompt = 0;   // of these came as its prompt; 0: it had none
  bool prompt_rows = false;  // the candidates are the prompt's
  std::int64_t window = 0;   // sliding window of the layer; 0: none
  std::uint64_t seed = 0;
};

class TokenEviction {
 public:
  static constexpr std::int64_t unbounded = std::numeric_limits<std::int64_t>::max();

  virtual ~TokenEviction() = default;
  // Which sums of attention weights the policy looks at; the interval is the window's.
  virtual AttentionSumsForm sums() const = 0;
  // Rows beside the window, per head on average, that may be kept. Nothing is dropped or merged while all
  // candidates fit: they are stored as they are, behind the rows stored before.
  virtual std::int64_t capacity(const EvictionStep& step) const = 0;
  // Whether kept rows are chosen from again when later tokens leave the window, and stored anew.
  virtual bool rewrites() const = 0;
  // The exact window that the capacity counts on.
  virtual void set_window(WindowPolicy& window) const = 0;
  virtual bool uneven() const { return false; }  // heads may keep different numbers of rows
  // One entry per head: at most capacity(step) rows on average. A head may have no candidates.
  virtual std::vector<KeptSlots> keep(const std::vector<KvSlots>& heads, const EvictionStep& step) const = 0;
};

// The candidates `rows` (ascending) alone.
KvSlots candidate_rows(const KvSlots& candidates, std::span<const std::int64_t> rows);
// The candidates `rows` (ascending) as they are; the others are dropped.
KeptSlots kept_rows(const KvSlots& candidates, std::span<const std::int64_t> rows);

}  // namespace laconic
