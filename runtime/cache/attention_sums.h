// Sums of attention weights per cached row, for policies that keep a bounded number of rows: of all query
// rows so far (the accumulated score of H2O, Zhang et al. 2023) and of the last few (SnapKV, Li et al. 2024).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "runtime/cache/attention_scores.h"

namespace laconic {

// Which sums are kept.
struct AttentionSumsForm {
  bool total = false;         // of all query rows
  std::int64_t recent = 0;    // of the last so many before rows are compressed
  std::int64_t interval = 1;  // steps from one compression to the next
  bool window_only = false;   // over the rows of the exact window, not over compressed ones

  bool any() const { return total || recent > 0; }
  bool operator==(const AttentionSumsForm&) const = default;
};

// What decoding steps looked at, per KV head and cached row (compressed rows first, unless the form leaves
// them out, then the exact window in order). When rows will be compressed is known beforehand, and so is
// whether a step will be among the last ones then: instead of a ring of rows there is one sum for each set of
// steps that count at the same times. Sums are f16 values in memory as in bytes, so that a sequence that was
// read back goes on as it would have. Truncation forgets rows, but not what the queries of forgotten tokens
// looked at.
class AttentionSums {
 public:
  AttentionSums() = default;
  AttentionSums(std::int64_t heads, const AttentionSumsForm& form);

  bool active() const { return !heads_.empty(); }
  const AttentionSumsForm& form() const { return form_; }
  // Compressions at which a row that was seen `remaining` steps before the next one is recent; 0: none.
  std::int64_t recent_at(std::int64_t remaining) const;
  // Whether such a row is of use.
  bool wants(std::int64_t remaining) const { return form_.total || recent_at(remaining) > 0; }

  // Starts with the rows of a prompt; the last one was seen `remaining` steps before the next compression.
  void start(const PromptScores& prompt, std::int64_t remaining);
  // One query row's weights over the cached rows, summed over the query heads of the KV head. `remaining`:
  // steps from this one to the next compression; 0: it follows this step.
  void observe(std::int64_t h, std::span<const float> weights, std::int64_t remaining);

  std::vector<float> total(std::int64_t h) const;       // per cached row; empty where the form has none
  std::vector<float> recent_sum(std::int64_t h) const;  // of the rows that are recent at the next compression

  // Forgets the first `count` rows of head h.
  void drop_front(std::int64_t h, std::int64_t count);
  // The first rows of head h become `slots` rows: row i adds to row slot_of[i], or is forgotten (-1).
  void regroup(std::int64_t h, std::span<const std::int32_t> slot_of, std::int64_t slots);
  // How many tokens before its own the earliest one lies that a cached row stands for; 0 beyond the end.
  const std::vector<std::int32_t>& reach(std::int64_t h) const { return at(h).reach; }
  void set_reach(std::int64_t h, std::vector<std::int32_t> reach);
  void settle();                                     // after each compression of later rows
  void truncate(std::int64_t h, std::int64_t rows);  // keeps the first rows

  std::uint64_t bytes() const;
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write.
  static AttentionSums read(ByteReader& reader, std::int64_t heads, const AttentionSumsForm& form,
                            std::int64_t most_rows);

 private:
  struct Sum {
    std::int64_t compressions = 0;  // at which it is recent
    bool counted = false;           // it is part of the total already
    std::vector<float> weights;
  };
  struct Head {
    std::vector<float> total;  // of the steps up to the last compression
    std::vector<Sum> sums;     // in the order of their steps
    std::vector<std::int32_t> reach;
  };
  const Head& at(std::int64_t h) const { return heads_.at(static_cast<std::size_t>(h)); }

  AttentionSumsForm form_;
  std::vector<Head> heads_;
};

}  // namespace laconic
