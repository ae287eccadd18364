// Sums over ranks. A vector of n numbers is cut into one part per rank (`parts_of`); the order of every sum
// is fixed, so all ranks hold the same bits, on any carrier.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/transport/communicator.h"

namespace laconic {

// Bounds of W parts of n numbers, W + 1 of them: lengths are multiples of `align` but for the last ones,
// which may be shorter or empty.
std::vector<std::size_t> parts_of(std::size_t n, int ranks, std::size_t align = 16);

// Ring reduce-scatter: rank r ends with part (r + 1) mod W of the sum, which is folded in the order of the
// ranks from the part's own number on: ((x_c + x_{c+1}) + ..) + x_{c-1}. The other parts of `values` hold
// partial sums afterwards. Sends (W - 1) / W of the vector.
void reduce_scatter(Communicator& communicator, std::span<float> values,
                    const std::vector<std::size_t>& bounds);
// Which part a rank ends with.
int ring_part_of(int rank, int ranks);

// Ring all-reduce (reduce-scatter, then all-gather along the ring): the sum on every rank. Sends
// 2 (W - 1) / W of the vector in f32.
void all_reduce_sum(Communicator& communicator, std::span<float> values);

// The sum through owners: each rank encodes its part for every owner, owner r decodes the W contributions to
// part r, adds them in the order of the ranks, encodes the sum, and every rank (the owner too) decodes the
// same bytes. Each number is encoded twice, whatever W is.
struct OwnedReduction {
  // This rank's contribution to a part.
  std::function<Bytes(int part, std::span<const float> values)> encode_part;
  // Of another rank's or its own contribution; writes every number.
  std::function<void(int source, int part, ByteSpan bytes, std::span<float> values)> decode_part;
  // On the owner; what is encoded need not be the exact sum (an owner may keep an error of its own).
  std::function<Bytes(int part, std::span<const float> sum)> encode_sum;
  std::function<void(int part, ByteSpan bytes, std::span<float> values)> decode_sum;
  // In place of decode_part where it can add to numbers that begin at 0, without a vector in between.
  std::function<void(int source, int part, ByteSpan bytes, std::span<float> sum)> add_part = {};
};
void reduce_through_owners(Communicator& communicator, std::span<float> values,
                           const std::vector<std::size_t>& bounds, const OwnedReduction& reduction);

// The same with numbers rounded to bf16 (nearest, ties to even) on the wire and added in f32: half the bytes.
void all_reduce_sum_bf16(Communicator& communicator, std::span<float> values);

}  // namespace laconic
