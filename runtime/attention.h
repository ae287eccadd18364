// Causal attention of query rows over the cached rows of one KV head:
//   out = softmax(q K^T / sqrt(head_dim)) V over the visible keys: those at positions in (p - window, p] for
//   a query at position p (window 0: all up to p).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// Consecutive key and value rows; strides in floats.
struct KeyValueRun {
  const float* keys = nullptr;
  const float* values = nullptr;
  std::int64_t key_stride = 0, value_stride = 0;
  std::int64_t first_position = 0, count = 0;
};

struct QueryRows {
  const float* queries = nullptr;  // row r at queries + r * stride
  float* out = nullptr;            // likewise, with the same stride
  std::int64_t stride = 0, rows = 0;
  std::int64_t first_position = 0;  // of row 0
  std::int64_t position_step = 1;   // 0: all rows stand at one position (the query heads of one token)
};

// One product with all keys, softmax, one product with all values.
// Requires: runs in position order; every query sees at least one key. `scores` is scratch.
void attend(const QueryRows& queries, std::span<const KeyValueRun> runs, std::int64_t head_dim,
            std::int64_t window, std::vector<float>& scores);

// A whole sequence from position 0: queries and out [rows, heads, head_dim], keys and values
// [rows, kv_heads, head_dim].
struct PromptAttention {
  std::int64_t rows = 0, heads = 0, kv_heads = 0, head_dim = 0, window = 0;
  const float* queries = nullptr;
  const float* keys = nullptr;
  const float* values = nullptr;
  float* out = nullptr;
};

// Over all threads, in tiles (engine/attention): no row of scores is ever whole, and keys and values are read
// once for the query heads that share them. Very few rows go as above. Numbers that are not finite reach the
// output.
void attend_prompt(const PromptAttention& prompt);

}  // namespace laconic
