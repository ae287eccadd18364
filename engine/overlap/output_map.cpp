#include "engine/overlap/output_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

int ring_place(int rank, int ranks) { return ((rank % ranks) + ranks) % ranks; }

void order_entries(OutputMap& map, bool staggered) {
  if (staggered) return;
  std::sort(map.entries.begin(), map.entries.end(),
            [](const ChunkEntry& a, const ChunkEntry& b) { return a.chunk < b.chunk; });
}

}  // namespace

OutputMap ring_reduce_scatter_map(int rank, int ranks, bool staggered) {
  OutputMap map{rank, ranks, {}};
  for (int step = 0; step < ranks; ++step) {
    ChunkEntry entry;
    entry.chunk = ring_place(rank - step, ranks);
    entry.step = step;
    if (step + 1 < ranks) {
      entry.route = step == 0 ? ChunkRoute::remote : ChunkRoute::dma;
      entry.target = ring_place(rank + 1, ranks);
    }
    if (step > 0) entry.sources = {ring_place(rank - 1, ranks)};
    entry.trigger_count = 1 + static_cast<int>(entry.sources.size());
    map.entries.push_back(entry);
  }
  order_entries(map, staggered);
  return map;
}

OutputMap direct_reduce_scatter_map(int rank, int ranks, bool staggered) {
  OutputMap map{rank, ranks, {}};
  for (int step = 0; step < ranks; ++step) {
    ChunkEntry entry;
    entry.chunk = ring_place(rank - step, ranks);
    entry.step = step;
    const int owner = ring_place(entry.chunk - 1, ranks);
    if (owner != rank) {
      entry.route = ChunkRoute::remote;
      entry.target = owner;
    } else {
      for (int i = 0; i + 1 < ranks; ++i) entry.sources.push_back(ring_place(entry.chunk + i, ranks));
      entry.trigger_count = ranks;
    }
    map.entries.push_back(entry);
  }
  order_entries(map, staggered);
  return map;
}

void check_output_map(const OutputMap& map, const ChunkLayout& layout) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorKind::usage, what, fmt::format("output map of rank {} of {}", map.rank, map.ranks));
  };
  if (map.ranks < 1 || map.rank < 0 || map.rank >= map.ranks) refuse("the rank is not in the group");
  if (layout.chunks() != map.ranks) refuse(fmt::format("{} chunks where each rank has one", layout.chunks()));
  std::vector<int> owners(static_cast<std::size_t>(map.ranks), 0);
  for (const ChunkEntry& entry : map.entries) {
    if (entry.chunk < 0 || entry.chunk >= map.ranks) refuse(fmt::format("there is no chunk {}", entry.chunk));
    ++owners[static_cast<std::size_t>(entry.chunk)];
    const auto of_chunk = [&](std::string_view what) {
      refuse(fmt::format("chunk {}: {}", entry.chunk, what));
    };
    if (entry.trigger_count < 1) of_chunk("a trigger count of 0 never fires");
    if (entry.trigger_count != 1 + static_cast<int>(entry.sources.size()))
      of_chunk("the trigger count is not that of its contributions");
    for (std::size_t i = 0; i < entry.sources.size(); ++i) {
      const int source = entry.sources[i];
      if (source < 0 || source >= map.ranks || source == map.rank) of_chunk("a source is not another rank");
      if (std::count(entry.sources.begin(), entry.sources.end(), source) != 1)
        of_chunk("a source stands twice");
    }
    if (entry.route == ChunkRoute::local) {
      if (entry.target != -1) of_chunk("what stays has no target");
    } else if (entry.target < 0 || entry.target >= map.ranks || entry.target == map.rank) {
      of_chunk("what leaves has another rank as its target");
    }
    if (entry.route == ChunkRoute::remote && !entry.sources.empty())
      of_chunk("nothing arrives for a chunk that is stored elsewhere");
  }
  for (int chunk = 0; chunk < map.ranks; ++chunk) {
    if (owners[static_cast<std::size_t>(chunk)] == 0) refuse(fmt::format("nobody owns chunk {}", chunk));
    if (owners[static_cast<std::size_t>(chunk)] > 1) refuse(fmt::format("chunk {} stands twice", chunk));
  }
}

}  // namespace laconic
