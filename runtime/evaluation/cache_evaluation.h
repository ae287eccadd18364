// What a compressed KV cache costs in quality, protocol P2: documents one after the other, each behind BOS,
// cut into windows of T0 + T1 tokens; T0 tokens are a prompt with full attention whose cache is then
// compressed, T1 tokens are teacher-forced through the cache. Only what the T1 tokens predict is scored, BOS
// never. The dense cache is f16.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

struct CacheWindows {
  std::vector<std::vector<std::int32_t>> windows;  // T0 + T1 tokens each
  std::int64_t prompt = 0, forced = 0;             // T0, T1
  std::int32_t bos = 0;
};

// At most `count` windows; fewer where the text ends. Refuses (Error) a text that gives none and windows
// longer than the model's context.
CacheWindows make_cache_windows(const Tokenizer& tokenizer, const ModelConfig& config, std::string_view text,
                                std::int64_t prompt, std::int64_t forced, std::int64_t count);

using CacheMaker = std::function<std::unique_ptr<KvCache>()>;

// Logits of the dense cache over all windows, kept so that many caches are compared with one dense run.
struct DenseCacheRun {
  std::vector<std::vector<float>> logits;  // per window [T1, vocabulary]
  double nats_per_token = 0;
  std::vector<double> window_nats;
};
DenseCacheRun run_dense_cache(const Transformer& model, const CacheWindows& windows,
                              const ProgressListener& progress = {});

struct CacheEvaluation {
  double nats_per_token = 0, perplexity = 0;
  double dense_perplexity = 0, change = 0;  // perplexity / dense - 1
  double kl = 0, kl_error = 0;              // mean KL(dense || compressed), nats per token; standard error
  double top1_agreement = 0;                // ties: lowest id
  std::int64_t tokens = 0;
  KvBytes bytes;               // of a window's cache at its end, mean over windows
  double bytes_per_token = 0;  // bytes.total() over the T0 + T1 tokens held
  std::vector<double> window_nats, window_kl;
  // Perplexity against position: buckets of equal length over the T1 tokens.
  struct Bucket {
    std::int64_t first = 0, last = 0;  // positions in the window
    double perplexity = 0, kl = 0;
  };
  std::vector<Bucket> positions;
  double seconds = 0;
};

CacheEvaluation evaluate_cache(const Transformer& model, const CacheMaker& make, const CacheWindows& windows,
                               const DenseCacheRun& dense, const ProgressListener& progress = {});

}  // namespace laconic
