// What overlapping a product with its reduce-scatter can bring, in closed form (T3, Pati et al. 2024): W
// ranks, G seconds of product, s seconds for one chunk on a link.
#pragma once

#include <algorithm>
#include <cstdint>

namespace laconic {

struct OverlapModel {
  int ranks = 1;
  double product = 0;  // G
  double step = 0;     // s

  double exchange() const { return (ranks - 1) * step; }
  double sequential() const { return product + exchange(); }
  // The first chunk leaves when it is made, one step after the other follows.
  double overlapped() const { return std::max(product, product / ranks + exchange()); }
  // Speed-up of the product with its all-reduce; the all-gather, as long as the exchange, follows either.
  double sub_layer_speedup() const { return (product + 2 * exchange()) / (overlapped() + exchange()); }
};

// Bytes between one rank and its memory, chunks of `chunk` bytes.
struct RingMemory {
  std::uint64_t product_writes = 0, reads = 0, updates = 0;
};
inline RingMemory sequential_memory(int ranks, std::uint64_t chunk) {
  const auto n = static_cast<std::uint64_t>(ranks);
  return {n * chunk, (2 * n - 1) * chunk, n * chunk};
}
// product_writes: into its own memory; updates: of arriving sums.
inline RingMemory triggered_memory(int ranks, std::uint64_t chunk) {
  const auto n = static_cast<std::uint64_t>(ranks);
  return {(n - 1) * chunk, (n - 2) * chunk, (n - 1) * chunk};
}

}  // namespace laconic
