#include "runtime/cache/run_rows.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

RunRows run_rows(const KvLayerState& state, std::int64_t begin, std::int64_t end) {
  require(begin >= 0 && begin <= end && end <= state.tokens && !state.dropped, "a run lies inside the cache");
  RunRows run;
  const std::int64_t heads = state.keys.parts();
  for (std::int64_t h = 0; h < heads; ++h) {
    run.keys.emplace_back(end - begin, state.keys.width(h));
    run.values.emplace_back(end - begin, state.values.width(h));
  }
  std::int64_t found = 0;
  for (const BlockRef& ref : state.blocks) {
    const std::int64_t first = ref.block->index().first(), last = std::min(ref.position_end, end);
    const std::int64_t from = std::max(first, begin);
    require(ref.block->index().consecutive(), "the blocks are runs of tokens");
    if (from >= last) continue;
    found += last - from;
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto head = static_cast<std::size_t>(h);
      ref.block->read(h, from - first, last - first, run.keys[head].row(from - begin),
                      run.values[head].row(from - begin));
    }
  }
  const std::int64_t window = state.window_first(), from = std::max(window, begin);
  if (from < end) {
    found += end - from;
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto head = static_cast<std::size_t>(h);
      state.keys.read(h, from - window, end - window, run.keys[head].row(from - begin));
      state.values.read(h, from - window, end - window, run.values[head].row(from - begin));
    }
  }
  require(found == end - begin, "the cache keeps every token of the run");
  return run;
}

}  // namespace laconic
