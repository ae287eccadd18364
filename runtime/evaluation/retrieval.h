// Retrieval over a KV cache: what a model finds again in its context when the cache is full, cut or
// compressed. A needle (runtime/corpus/retrieval.h) counts as found when every token of its answer is the
// most probable one, given the answer's earlier tokens: what greedy decoding would say.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/corpus/retrieval.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

struct RetrievalWindow {
  std::vector<std::int32_t> context;  // BOS first
  std::vector<std::int32_t> question, answer;
  double depth = 0;
};

TokenCounter token_counter(const Tokenizer& tokenizer);

// BOS is the one of config.json, else of the tokenizer. Throws Error(usage) when the window is longer than
// the model's context.
RetrievalWindow make_retrieval_window(const Tokenizer& tokenizer, const ModelConfig& config,
                                      const RetrievalSample& sample);

// `count` needles at each depth, in windows of `window_tokens` tokens with BOS, question and answer; window i
// of depth d has index first + d * count + i. Windows are made in parallel.
std::vector<RetrievalWindow> make_retrieval_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                                    std::int64_t window_tokens,
                                                    std::span<const double> depths, std::int64_t count,
                                                    const NeedleOptions& options, std::uint64_t seed,
                                                    std::uint64_t first, const Haystack& haystack);

struct RetrievalOptions {
  // An empty cache for each window; not set: the model's own.
  std::function<std::unique_ptr<KvCache>()> cache;
  // Tokens of the prompt that are appended at once; 0: all. The answer follows token by token.
  std::int64_t prompt_rows = 0;
  // The question stands in the prompt, or comes token by token behind it, when the cache has forgotten what
  // it forgets.
  bool question_in_prompt = true;
  // Called when the prompt is in the cache.
  std::function<void(KvCache&)> after_prompt;
  ProgressListener progress;
};

struct Retrieval {
  double depth = 0;
  bool found = false;
  double nats = 0;                // of the answer, per token
  std::uint64_t cache_bytes = 0;  // with all of the window but its last token
};

// One per window, in their order; windows run in parallel.
std::vector<Retrieval> retrieve(const Transformer& model, std::span<const RetrievalWindow> windows,
                                const RetrievalOptions& options = {});

// Share that was found.
double found_share(std::span<const Retrieval> results);

}  // namespace laconic
