// Attention weights as codecs ask for them: which tokens the queries look at. Sums are over the query heads
// that share a KV head; no matrix of tokens by tokens is ever held.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "runtime/cache/kv_shape.h"

namespace laconic {

// Softmax rows of a prompt, computed apart from its main attention.
class PromptScores {
 public:
  // `rows` is a whole prompt from position 0, with queries; borrowed.
  PromptScores(const KvShape& shape, std::int64_t layer, const LayerRows& rows);

  std::int64_t tokens() const { return rows_.rows; }
  // sums[kv_head][j] = sum over the query rows i of `ids` and over the query heads of the KV head of A[i, j],
  // A the causal softmax rows. ids ascending.
  std::vector<std::vector<float>> sums(std::span<const std::int64_t> ids) const;
  const std::vector<std::vector<float>>& column_sums() const;           // all rows; worked out once
  std::vector<std::vector<float>> last_rows(std::int64_t count) const;  // the last `count` rows, or all
  // A[i, 0..i] of each query head for one row: [heads][i + 1]. For tests and probes of single rows.
  std::vector<std::vector<float>> row(std::int64_t id) const;

 private:
  const KvShape& shape_;
  std::int64_t layer_;
  LayerRows rows_;
  mutable std::optional<std::vector<std::vector<float>>> columns_;
};

// What decoding steps looked at, per KV head and cached row (compressed rows first, then the exact window in
// order): the running sum of softmax rows and the last few rows themselves.
class ScoreMemory {
 public:
  ScoreMemory() = default;
  // `recent`: how many of the last rows are kept.
  ScoreMemory(std::int64_t heads, std::int64_t recent);

  bool active() const { return !heads_.empty(); }
  std::int64_t recent_rows() const { return recent_; }
  struct Head {
    std::vector<float> total;  // per cached row
    // f16 values, newest last; shorter rows are older: they end at an earlier token
    std::deque<std::vector<float>> recent;
  };
  Head& head(std::int64_t h) { return heads_.at(static_cast<std::size_t>(h)); }
  const Head& head(std::int64_t h) const { return heads_.at(static_cast<std::size_t>(h)); }
  // One query row's weights over the cached rows, summed over the query heads of the KV head.
  void observe(std::int64_t h, std::span<const float> weights);
  // Sum of the recent rows, per cached row.
  std::vector<float> recent_sum(std::int64_t h) const;
  // Forgets the first `count` rows of head h.
  void drop_front(std::int64_t h, std::int64_t count);
  // Puts the rows' totals in place of the first `replaced` rows; their recent weights become `recent` (may be
  // empty: zero), one list per kept recent row, newest last.
  void replace_front(std::int64_t h, std::int64_t replaced, std::vector<float> totals,
                     const std::vector<std::vector<float>>& recent = {});
  // Keeps the first `rows` cached rows; recent rows of queries that came later are forgotten.
  void truncate(std::int64_t h, std::int64_t rows);
  void clear();

  std::uint64_t bytes() const;  // f16 totals and recent rows, with their lengths
  void write(ByteWriter& writer) const;
  static ScoreMemory read(ByteReader& reader, std::int64_t heads, std::int64_t recent,
                          std::int64_t most_rows);

 private:
  std::int64_t recent_ = 0;
  std::vector<Head> heads_;
};

}  // namespace laconic
