// Exact causal attention of packed sequences that a group of ranks shares: blocks of keys and values travel
// around a ring (Liu et al. 2023, arXiv 2310.01889), and the group is any list of ranks of one communicator.
// Nothing is set up for a group: its steps are point-to-point messages, so that groups may change with every
// call (Ge et al. 2025, arXiv 2502.21231).
//
// Each sequence is cut into 2 N pieces; member i holds pieces i and 2 N - 1 - i, which is 1 / N of its tokens
// and of its causal area, up to rounding. A query sees the keys of its own sequence up to its position; pairs
// of pieces that see nothing are skipped.
//
// Forward, per query: running maximum m, sum z and sum of values o; a block with its own (m', z', o') is
// merged as
//   M = max(m, m'),  z = z 2^(m - M) + z' 2^(m' - M),  o = o 2^(m - M) + o' 2^(m' - M),   out = o / z
// in f32. Backward recomputes scores from what forward leaves, L = m + log2 z; dK and dV travel behind their
// block, every member adds its part, and one more hop brings them home.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/transport/communicator.h"

namespace laconic {

struct RingShape {
  std::int64_t heads = 1, kv_heads = 1, head_dim = 0;  // kv_heads divides heads
  float scale = 1;                                     // of the scores
};

// A run of rows of one sequence at one member.
struct RingPiece {
  std::size_t sequence = 0;
  std::int64_t index = 0;                // 0 .. 2 N - 1
  std::int64_t position = 0, count = 0;  // in the sequence
  std::int64_t row = 0;                  // of the member's rows
};

// The pieces of one member, sequence by sequence, those of no rows included: the order of its rows.
std::vector<RingPiece> ring_pieces(std::span<const std::uint32_t> lengths, std::size_t members,
                                   std::size_t member);
std::int64_t ring_rows(std::span<const std::uint32_t> lengths, std::size_t members, std::size_t member);

// Where a rank stands. All members call the same functions for the same groups in the same order.
struct RingGroup {
  Communicator* communicator = nullptr;    // may be null for a group of one
  std::span<const std::uint16_t> members;  // ranks in the order of the ring
  std::size_t member = 0;                  // this rank's place among them
  std::uint32_t tag = 0;                   // this and the next one are used
};

// Tensors are [rows, heads or kv_heads, head_dim] of this member's rows in f32. Lengths are those of the
// whole sequences. Throws Error(usage) on shapes that do not fit, Error(io) and Error(corrupt) from messages.
struct RingForward {
  std::span<const float> queries, keys, values;
  std::span<float> out;       // like queries
  std::span<float> log_sums;  // [heads, rows] L
};
// Returns the pairs of a query and a key that this member computed, of each head.
std::uint64_t ring_attention(const RingShape& shape, std::span<const std::uint32_t> lengths,
                             const RingGroup& group, const RingForward& tensors);

struct RingBackward {
  std::span<const float> queries, keys, values, out, log_sums;  // of the forward pass
  std::span<const float> out_gradient;
  std::span<float> query_gradient, key_gradient, value_gradient;  // written whole
};
void ring_attention_backward(const RingShape& shape, std::span<const std::uint32_t> lengths,
                             const RingGroup& group, const RingBackward& tensors);

}  // namespace laconic
