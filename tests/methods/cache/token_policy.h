// Policies that keep a bounded number of tokens, made from pipeline text, and what a cache of theirs holds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "methods/cache/pipeline.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {

inline KvShape policy_shape(std::int64_t window = 0, std::shared_ptr<const RopeTable> rope = nullptr) {
  return {1, 2, 4, 16, 24, {window}, std::move(rope)};
}

inline KvStages stages_of(const std::string& pipeline, const KvShape& shape = policy_shape()) {
  const CacheRequest request{shape, {}, {}, 0};
  KvStages stages;
  for (const CacheStageText& stage : parse_cache_pipeline(pipeline))
    stage.method->cache->make(stage.parameters, request)(0, stages);
  return stages;
}

inline std::unique_ptr<KvCache> policy_cache(const std::string& pipeline,
                                             const KvShape& shape = policy_shape()) {
  return CacheFactory(pipeline, {shape, {}, {}, 0}).make();
}

inline Bytes layer_bytes(const KvCache& cache) {
  ByteWriter writer;
  cache.write_layer(0, writer);
  return writer.take();
}

// Positions that the slots of a head stand at, and all rows that it holds with the window.
inline std::vector<std::int32_t> slot_positions(const KvCache& cache, std::int64_t head) {
  std::vector<std::int32_t> all;
  for (const BlockRef& ref : cache.layer(0).blocks) {
    const auto positions = ref.block->index().positions(head);
    all.insert(all.end(), positions.begin(), positions.end());
  }
  return all;
}
inline std::int64_t held_rows(const KvCache& cache, std::int64_t head) {
  return static_cast<std::int64_t>(slot_positions(cache, head).size()) + cache.layer(0).window_rows();
}

}  // namespace laconic
