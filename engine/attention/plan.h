// Which schedule and tiles attention should use: for one memory of M words, for the caches of a processor,
// and as tiles of the kernel.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/attention/cache_sizes.h"
#include "engine/attention/io_model.h"
#include "engine/attention/tiled_attention.h"

namespace laconic {

struct AttentionPlan {
  std::int64_t words = 0;  // M
  AttentionSchedule schedule = AttentionSchedule::qstat;
  ScheduleTiles tiles;
  MovedWords traffic;
  std::uint64_t key_value_reads = 0;                                // among traffic.reads
  std::uint64_t least = 0;                                          // lower bound
  std::vector<std::pair<AttentionSchedule, std::uint64_t>> totals;  // of every schedule that fits
  double ratio() const { return static_cast<double>(traffic.total()) / static_cast<double>(least); }
};

// The schedule that moves least, a number of keys and values counting as `key_value_share` of a word: c / 32
// where a cache keeps them at c bits and a word is f32. Error(usage) when none fits into M words; it names
// the least M.
AttentionPlan plan_attention(const AttentionShape& shape, std::int64_t words, double key_value_share = 1);

// Bytes that a plan moves, keys and values at `key_value_bits` a number.
double moved_bytes(const AttentionPlan& plan, int word_bytes, double key_value_bits);

// {N, keys, d, M, word_bytes, schedule, Br, Bc, b, reads, writes, io, bytes, key_value_reads, lb, ratio,
// totals}
nlohmann::json to_json(const AttentionPlan& plan, const AttentionShape& shape, int word_bytes);

struct CacheLevelPlan {
  std::string level;  // "L1"
  std::int64_t bytes = 0;
  AttentionPlan plan;
};
// One plan for each cache of a core: what moves between it and what lies behind it.
std::vector<CacheLevelPlan> plan_levels(const AttentionShape& shape, const CacheSizes& caches, int word_bytes,
                                        double key_value_share = 1);

// Tiles of the kernel for `rows` query rows in all (heads times positions): the query-stationary rows of the
// innermost cache that holds at least four, and around them those of the next one, though not so many that
// threads run out of blocks; keys and values stream by.
AttentionTiles kernel_tiles(std::int64_t head_dim, std::int64_t rows, int threads, const CacheSizes& caches);

}  // namespace laconic
