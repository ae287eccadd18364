// Attention weights as codecs ask for them: which tokens the queries look at. Sums are over the query heads
// that share a KV head; no matrix of tokens by tokens is ever held.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

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

}  // namespace laconic
