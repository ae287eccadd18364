// Collectives on bytes. Every rank calls the same one, in the same order. Messages go straight from rank to
// rank, to the next ranks first, so that no rank is everybody's first target.
#pragma once

#include <vector>

#include "engine/transport/communicator.h"

namespace laconic {

// What each rank gave, by rank. Lengths may differ. Sends (W - 1) |own| bytes.
std::vector<Bytes> all_gather(Communicator& communicator, ByteSpan own);

// parts[r] goes to rank r; returns what each rank had for this one, by rank. Lengths may differ. The part for
// oneself is moved.
std::vector<Bytes> all_to_all(Communicator& communicator, std::vector<Bytes> parts);

// The root's bytes, on every rank, along a binomial tree: ceil(log2 W) rounds.
Bytes broadcast(Communicator& communicator, int root, Bytes bytes);

// Returns when every rank has come here (dissemination, ceil(log2 W) rounds of empty messages).
void barrier(Communicator& communicator);

// The largest and smallest of one number per rank: how ranks agree before any of them changes its state.
struct Agreement {
  std::uint64_t least = 0, most = 0;
  int least_rank = 0, most_rank = 0;  // the first that has it
};
Agreement agree(Communicator& communicator, std::uint64_t own);

// Throws Error(usage) on every rank, naming the first rank that differs from rank 0, unless all gave the same
// text: settings, shapes, hashes of state. `what` is what the text describes.
void require_equal_everywhere(Communicator& communicator, std::string_view own, std::string_view what);

}  // namespace laconic
