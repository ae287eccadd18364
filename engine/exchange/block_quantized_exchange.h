// The mean of vectors that travel as 8- or 16-bit integers with two parameters for each block of numbers:
// the quantised all-reduce of peers (Prime Collective Communications Library, arXiv 2505.14065;
// engine/transport/tcp/reduction_form.h says what is on the wire) over any communicator. With equal
// quantisation and order of members it gives the bits that Peer::all_reduce gives.
//
//   ring    partial sums go around and are quantised at each of W - 1 hops; the owner of a chunk quantises
//   its
//           mean once, and those integers go around unchanged: W quantisations of a number
//   direct  each rank sends its part of a chunk to the chunk's owner, who adds them in the order of the ranks
//           and tells all the mean: two quantisations, at the same bytes
//
// No memory of what rounding lost. A bucket is cut into W chunks of floor(n / W) + (c < n mod W) numbers.
//
// Message of a chunk: u8 refused; blocks of the quantiser, if not refused; u32 of the XXH3-64 of what is
// before it.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/exchange/gradient_exchange.h"
#include "engine/transport/tcp/block_quantizer.h"

namespace laconic {

enum class QuantizedRoute { ring, direct };

struct BlockQuantizedSettings {
  Quantization quantization{QuantizationKind::min_max, 8, 1024, WireRounding::nearest_even, 0};
  QuantizedRoute route = QuantizedRoute::ring;
  int ranks = 1, rank = 0;
  std::size_t bucket_bytes = 25'000'000;
};

// Error(usage) for a quantisation that there is not.
std::unique_ptr<GradientExchange> block_quantized_exchange(std::vector<TensorSlice> tensors,
                                                           const BlockQuantizedSettings& settings);

}  // namespace laconic
