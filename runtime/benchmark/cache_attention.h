// Decoding over long caches: attention of one new token over every layer of several sequences, enough of them
// that what is read does not stay in the processor's caches.
//
// Two things bound the speed of a cache of N bytes that holds E numbers, when g query heads share a KV head:
//   by bytes        N / copy rate            copy rate: N / time of memcpy by the same number of threads
//   by products     E g / multiply-add rate  of sgemm by the same number of threads
// The larger of the two times is the bound. All rates are measured in turn, round by round.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/cache/kv_cache.h"

namespace laconic {

struct CacheAttentionOptions {
  std::int64_t layers = 16, kv_heads = 8, head_dim = 64, tokens = 4096;  // as a Llama of 1 B parameters has
  std::vector<std::int64_t> groups = {1, 4};                             // query heads that share a KV head
  std::vector<std::string> caches;  // the first one is what the others are compared with
  // Whether tokens came one by one, so that the cache is made of small blocks; else as a prompt.
  bool appended = false;
  int rounds = 7;
  std::uint64_t least_bytes = std::uint64_t{256} << 20;  // of distinct data for every cache
  // A cache of one of `caches`.
  std::function<std::unique_ptr<KvCache>(const std::string& cache, const KvShape& shape)> make;
};

struct CacheAttentionSpeed {
  std::string cache;
  std::int64_t group = 1;
  int threads = 1;
  std::int64_t sequences = 0;
  std::uint64_t bytes = 0;                     // of one sequence
  double seconds = 0;                          // for one token of one sequence, all layers
  double bound_bytes = 0, bound_products = 0;  // seconds
  double ratio = 0;                            // the larger bound over the time
  double speedup = 0;                          // against the first cache
  // The same two from the processor time that all took: what a machine at rest would give.
  double processor_ratio = 0, processor_speedup = 0;
  double divergence = 0;  // KL of the attention weights against those of the rows read as f32, nats
};

struct CacheAttentionReport {
  double copy_rate = 0;                     // bytes per second
  double multiply_add_rate = 0;             // per second
  std::vector<CacheAttentionSpeed> speeds;  // medians over the rounds
};

CacheAttentionReport measure_cache_attention(const CacheAttentionOptions& options,
                                             const ProgressListener& progress = {});

}  // namespace laconic
