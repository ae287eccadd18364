#include "engine/overlap/chunk_tracker.h"

#include <thread>

#include "engine/base/error.h"

namespace laconic {

ChunkTracker::ChunkTracker(const ChunkLayout& layout, const OutputMap& map)
    : subs_(layout.sub_chunks().size()),
      tiles_(layout.tiles().size()),
      counters_(std::make_unique<Counters[]>(subs_)),
      states_(std::make_unique<std::atomic<Holds>[]>(tiles_)) {
  for (const ChunkEntry& entry : map.entries) {
    for (int sub = 0; sub < layout.subs_of(entry.chunk); ++sub) {
      Counters& counters = counters_[static_cast<std::size_t>(layout.index_of(entry.chunk, sub))];
      counters.tiles = layout.sub_chunk(entry.chunk, sub).tiles;
      counters.contributions = static_cast<int>(entry.sources.size());
    }
  }
  reset();
}

void ChunkTracker::reset() {
  for (std::size_t i = 0; i < subs_; ++i) {
    Counters& c = counters_[i];
    c.tiles_left = c.tiles;
    c.contributions_left = c.contributions;
    c.parties_left = 1 + (c.contributions > 0 ? 1 : 0);
    c.completions = 0;
  }
  for (std::size_t i = 0; i < tiles_; ++i) states_[i] = Holds::nothing;
}

// Both counters may reach 0 at the same moment on two threads; the count of parties decides who was last.
bool ChunkTracker::party_done(Counters& counters) {
  if (counters.parties_left.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  counters.completions.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool ChunkTracker::own_tile_done(int sub) {
  Counters& counters = counters_[static_cast<std::size_t>(sub)];
  const int left = counters.tiles_left.fetch_sub(1, std::memory_order_acq_rel);
  require(left > 0, "every tile is done once");
  return left == 1 && party_done(counters);
}

bool ChunkTracker::contribution_done(int sub) {
  Counters& counters = counters_[static_cast<std::size_t>(sub)];
  const int left = counters.contributions_left.fetch_sub(1, std::memory_order_acq_rel);
  require(left > 0, "every contribution arrives once");
  return left == 1 && party_done(counters);
}

bool ChunkTracker::claim_first(int tile, Holds first) {
  std::atomic<Holds>& state = states_[static_cast<std::size_t>(tile)];
  Holds seen = Holds::nothing;
  if (state.compare_exchange_strong(seen, Holds::busy, std::memory_order_acquire)) return true;
  while ((seen = state.load(std::memory_order_acquire)) == Holds::busy) std::this_thread::yield();
  require(seen == Holds::own || seen == Holds::arrived, "a tile gets two contributions");
  require(seen != first, "a tile gets each contribution once");
  return false;
}

void ChunkTracker::publish(int tile, Holds now) {
  states_[static_cast<std::size_t>(tile)].store(now, std::memory_order_release);
}

bool ChunkTracker::touched(int tile) const {
  return states_[static_cast<std::size_t>(tile)].load(std::memory_order_relaxed) != Holds::nothing;
}

bool ChunkTracker::complete(int sub) const { return completions(sub) > 0; }

int ChunkTracker::completions(int sub) const {
  return counters_[static_cast<std::size_t>(sub)].completions.load(std::memory_order_acquire);
}

}  // namespace laconic
