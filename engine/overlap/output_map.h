// Where the chunks of a product go, told before the product begins (T3's output address map, Pati et al.
// 2024, sections 4.2 and 4.4). The producer of the product knows nothing of it: it says which tile is done.
//
//   remote  stores go straight into what travels to the target; nothing of the chunk stays here
//   dma     updates the memory here; when all contributions are in, the sum goes on to the target
//   local   ends here
#pragma once

#include <vector>

#include "engine/overlap/chunk_layout.h"

namespace laconic {

enum class ChunkRoute { remote, dma, local };

struct ChunkEntry {
  int chunk = 0;
  ChunkRoute route = ChunkRoute::local;
  int target = -1;  // rank; none for local
  // Ranks whose contributions arrive here. The sum is ((source_0 + source_1) + ..) + own, whatever the order
  // of their arrival.
  std::vector<int> sources = {};
  int trigger_count = 1;  // contributions that each sub-chunk waits for: own and arriving ones
  int step = 0;           // of the collective; earlier steps are served first
};

// The entries stand in the order in which the producer makes the chunks.
struct OutputMap {
  int rank = 0, ranks = 1;
  std::vector<ChunkEntry> entries;
};

// Ring reduce-scatter: rank r ends with chunk (r + 1) mod W (transport/reductions.h). Staggered, each rank
// first makes what the ring wants of it first: r, r - 1, .., r + 1; otherwise 0, 1, ...
OutputMap ring_reduce_scatter_map(int rank, int ranks, bool staggered = true);
// For ranks that all reach each other: every chunk goes straight to the rank that ends with it, the same as
// in the ring, and its sum is folded in the order of the ring: same bits.
OutputMap direct_reduce_scatter_map(int rank, int ranks, bool staggered = true);

// Error(usage) for a map that does not fit the layout: a chunk nobody owns or two entries do, a count of 0 or
// other than its contributions, a route without its target, ranks that are not in the group.
void check_output_map(const OutputMap& map, const ChunkLayout& layout);

}  // namespace laconic
