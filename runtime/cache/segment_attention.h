// Attention of a few query rows over the pieces of a cache: one softmax over all of them, computed piece by
// piece (online softmax, Milakov and Gimelshein 2018), so that scratch does not grow with the context.
//   per piece  m = max s, w = e^(s - m), l = sum w, o = sum w v
//   merged     M = max m_i, out = sum e^(m_i - M) o_i / sum e^(m_i - M) l_i
// A piece is a run of blocks in the same coordinates (KvBasis), or the exact window with blocks in the
// model's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cache/kv_codec.h"

namespace laconic {

// Query rows of one KV head: `positions` of each, rows [count, head_dim].
struct SegmentQueries {
  const float* rows = nullptr;
  std::span<const std::int64_t> positions;
  std::int64_t head_dim = 0;
  std::int64_t window = 0;  // sliding window of the layer; 0: none
  std::int64_t count() const { return static_cast<std::int64_t>(positions.size()); }
};

// weights [count, traced rows], softmax over everything; rows of compressed blocks first unless window_only.
struct WeightTrace {
  bool window_only = false;
  std::int64_t columns = 0;
  std::vector<float> weights;
};

// out [count, head_dim]. Queries that see no key get zeros. `trace` may be null.
void attend_segments(const KvLayerState& state, std::int64_t head, const SegmentQueries& queries, float* out,
                     WeightTrace* trace);

}  // namespace laconic
