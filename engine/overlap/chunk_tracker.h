// Counts what each sub-chunk still waits for (T3's tracker, section 4.2): tiles of its own, and contributions
// of other ranks. Whoever brings the last one learns of it, exactly once.
//
// A tile that gets two contributions, its own and an arriving sum, takes them in either order: the first is
// stored, the second added to it (an op-and-store near memory in the paper). Its state says which it holds.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/overlap/output_map.h"

namespace laconic {

class ChunkTracker {
 public:
  ChunkTracker(const ChunkLayout& layout, const OutputMap& map);
  // Everything is waited for again. No thread may be at work.
  void reset();

  // True for the one call that completes the sub-chunk (numbered through).
  bool own_tile_done(int sub);
  bool contribution_done(int sub);

  enum class Holds : std::uint8_t { nothing, busy, own, arrived, sum };
  // The caller's contribution is the first: it may store, then calls publish(). Otherwise the other one is
  // there, stored in full, and may be added to, then publish(sum).
  bool claim_first(int tile, Holds first);
  void publish(int tile, Holds now);
  // Whether one has been claimed.
  bool touched(int tile) const;

  bool complete(int sub) const;
  // Times that the sub-chunk was found complete since the last reset.
  int completions(int sub) const;

 private:
  struct Counters {
    std::atomic<int> tiles_left{0}, contributions_left{0}, parties_left{0}, completions{0};
    int tiles = 0, contributions = 0;
  };
  bool party_done(Counters& counters);

  std::size_t subs_, tiles_;
  std::unique_ptr<Counters[]> counters_;
  std::unique_ptr<std::atomic<Holds>[]> states_;
};

}  // namespace laconic
