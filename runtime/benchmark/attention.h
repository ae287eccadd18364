// Attention of many rows: the tiled kernel beside what it replaces, beside plain loops and beside the rate of
// sgemm, all measured in turn, round by round, so that a busy machine slows every one. Operations are those
// of the visible pairs: 4 head_dim for each, half of the square when causal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/attention/tiled_attention.h"
#include "engine/base/progress.h"

namespace laconic {

struct AttentionBenchmark {
  std::int64_t tokens = 4096, head_dim = 64, heads = 4, kv_heads = 2;
  bool causal = true;
  bool naive = false;  // plain loops are slow: asked for
  int rounds = 7;
};

struct AttentionSpeed {
  AttentionBenchmark what;
  int threads = 1;
  // Operations per second by the clock, medians over the rounds.
  double tiled_rate = 0, composed_rate = 0, naive_rate = 0, gemm_rate = 0;
  // Operations per second of processor time: of one core.
  double tiled_core_rate = 0, composed_core_rate = 0, naive_core_rate = 0, gemm_core_rate = 0;
  // Medians of what each round gave; by processor time: what a machine at rest would give.
  double of_gemm = 0, times_composed = 0, times_naive = 0;
  double of_gemm_processor = 0, times_composed_processor = 0, times_naive_processor = 0;
  std::uint64_t tiled_scratch = 0, composed_scratch = 0;  // bytes that one thread works in
};

// `composed`: query rows in blocks of 64, all their scores by one sgemm, softmax, a second sgemm. `gemm`:
// squares of 1024 on every thread. `naive`: for every row one score after the other, softmax, one weighted
// value after the other.
AttentionSpeed measure_attention(const AttentionBenchmark& what, const ProgressListener& progress = {});

struct TileSpeed {
  std::string name;  // of tiles that a theory gives; empty for those that were only tried
  AttentionTiles tiles;
  double rate = 0;
};

struct TileSearch {
  std::vector<TileSpeed> tried;  // by the search, one measurement each
  TileSpeed best;                // of the fastest few, measured again beside the named ones
  std::vector<TileSpeed> named;  // "planned", "fa1 in L1", "fa1 in L2"
  double planned_of_best = 0;    // median over the rounds, by processor time
  double fa1_of_planned = 0;     // the better of both fa1
};

// Every choice of tiles from a grid of rows, outer rows and keys, beside the planned ones and those of
// FlashAttention's first schedule, which passes over all query rows for each block of keys.
TileSearch search_tiles(const AttentionBenchmark& what, const ProgressListener& progress = {});

}  // namespace laconic
