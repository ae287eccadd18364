// What attention works with, over a calibration text: moments of each layer's normed input, and of keys,
// values and queries per KV head (convention C4: means over tokens, uncentred, sums in float64). Keys and
// queries are turned by their positions.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/calibration/calibration.h"

namespace laconic {

struct HeadStatistics {
  explicit HeadStatistics(std::int64_t head_dim)
      : keys(head_dim),
        values(head_dim),
        queries(head_dim),
        key_mean(static_cast<std::size_t>(head_dim)),
        value_mean(static_cast<std::size_t>(head_dim)) {}
  SecondMoment keys, values;
  SecondMoment queries;  // of all query heads that share the KV head
  std::vector<double> key_mean, value_mean;
};

struct AttentionStatistics {
  AttentionStatistics(std::int64_t hidden, std::int64_t kv_heads, std::int64_t head_dim)
      : input(hidden),
        input_magnitude(static_cast<std::size_t>(hidden)),
        heads(static_cast<std::size_t>(kv_heads), HeadStatistics(head_dim)) {}
  SecondMoment input;
  std::vector<double> input_magnitude;  // mean |h_j|
  std::vector<HeadStatistics> heads;
};

// Takes the hidden states of `walk` through block `layer` and on the way calls visit(window, rows), windows
// in order: rows are a whole prompt with keys, values, queries and hidden set, borrowed for the call. A layer
// whose attention is dropped visits nothing. Error(input) where they are not finite.
void visit_attention(const Transformer& model, CalibrationWalk& walk, std::int64_t layer,
                     const std::function<void(std::int64_t window, const LayerRows& rows)>& visit);

// Adds the rows of one visit; windows in order.
void add_attention(AttentionStatistics& sums, const KvShape& shape, const LayerRows& rows);

}  // namespace laconic
