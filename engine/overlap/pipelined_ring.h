// Ring reduce-scatter of a product that is finished, sub-chunk by sub-chunk, so that a link is never idle
// while sums are made: what overlapping is compared with. The same bits as reduce_scatter
// (transport/reductions.h).
//
// Memory: the first chunk is read to be sent; then, in each step, what arrives is stored, read, and added to
// what is read of the own chunk; the sum is built in what travels on, and stored here in the last step alone.
// With chunks of c bytes: reads (2 W - 1) c, updates W c, as the paper counts a ring in memory.
#pragma once

#include <span>
#include <vector>

#include "engine/overlap/producer_map.h"

namespace laconic {

// `output`: rows x columns of the layout; chunk (r + 1) mod W of it is the sum afterwards, the others are as
// they were. `spare`: memory of frames, kept between calls.
MemoryTraffic pipelined_ring_reduce_scatter(Communicator& communicator, const ChunkLayout& layout,
                                            std::span<float> output, const SubChunkCodec& codec,
                                            std::vector<Bytes>& spare);

}  // namespace laconic
