// Attention of a few query rows over the pieces of a cache: one softmax over all of them, computed tile by
// tile (online softmax, Milakov and Gimelshein 2018), so that scratch does not grow with the context.
//   per part  m = max s, w = e^(s - m), l = sum w, o = sum w v
//   merged    M = max m_i, out = sum e^(m_i - M) o_i / sum e^(m_i - M) l_i
// A part is a run of blocks in the same coordinates (KvBasis), or the exact window with blocks in the
// model's, and no more rows than one task takes: tasks are heads and runs of rows, cut by the rows alone, and
// merged in order, so that results do not depend on the threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cache/kv_codec.h"

namespace laconic {

struct SegmentQueries {
  const float* rows = nullptr;              // [kv_heads, count, head_dim]
  std::span<const std::int64_t> positions;  // [count], the same for every head; ascending
  std::int64_t kv_heads = 0, head_dim = 0;
  std::int64_t window = 0;  // sliding window of the layer; 0: none
  std::int64_t count() const { return static_cast<std::int64_t>(positions.size()); }
};

// Of one head: weights [count, traced rows], softmax over everything; rows of compressed blocks first unless
// window_only.
struct WeightTrace {
  bool window_only = false;
  std::int64_t columns = 0;
  std::vector<float> weights;
};

// out [kv_heads, count, head_dim]. Queries that see no key get zeros. `traces`: one per head, or none.
void attend_segments(const KvLayerState& state, const SegmentQueries& queries, float* out,
                     std::span<WeightTrace> traces);

}  // namespace laconic
