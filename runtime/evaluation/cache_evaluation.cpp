#include "runtime/evaluation/cache_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "runtime/documents.h"
#include "runtime/evaluation/window_logits.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

constexpr std::int64_t position_buckets = 8;

// Calls visit(i, logits) for every forced token i of a window: what the cache makes of its successor.
void visit_forced(const Transformer& model, KvCache& cache, const CacheWindows& windows,
                  std::span<const std::int32_t> tokens,
                  const std::function<void(std::int64_t, const float*)>& visit) {
  throw_if_interrupted();
  const std::int64_t width = model.config().hidden;
  const auto run = [&](std::span<const std::int32_t> part) {
    std::vector<float> hidden = model.embed(part);
    for (std::int64_t layer = 0; layer < model.config().layers; ++layer)
      model.run_block(layer, hidden.data(), static_cast<std::int64_t>(part.size()), &cache);
    return hidden;
  };
  run(tokens.first(static_cast<std::size_t>(windows.prompt)));
  throw_if_interrupted();
  const std::vector<float> hidden = run(tokens.subspan(static_cast<std::size_t>(windows.prompt)));
  visit_logits(model, hidden.data(), static_cast<std::int64_t>(hidden.size()) / width, visit);
}

// The token that forced token i predicts; none for the last one and before a new document.
std::optional<std::int32_t> target_of(const CacheWindows& windows, std::span<const std::int32_t> tokens,
                                      std::int64_t i) {
  const auto next = static_cast<std::size_t>(windows.prompt + i + 1);
  if (next >= tokens.size() || tokens[next] == windows.bos) return std::nullopt;
  return tokens[next];
}

}  // namespace

CacheWindows make_cache_windows(const Tokenizer& tokenizer, const ModelConfig& config, std::string_view text,
                                std::int64_t prompt, std::int64_t forced, std::int64_t count) {
  const std::int64_t length = prompt + forced;
  if (prompt < 1 || forced < 2 || length > config.max_positions) {
    fail(ErrorKind::usage,
         fmt::format("{} prompt tokens and {} forced ones do not fit the model's {} positions", prompt,
                     forced, config.max_positions),
         "--prompt-tokens", "choose fewer");
  }
  CacheWindows result;
  result.prompt = prompt;
  result.forced = forced;
  result.bos = beginning_token(tokenizer, config);
  std::vector<std::int32_t> stream;
  for (const std::string_view document : split_documents(text)) {
    if (static_cast<std::int64_t>(stream.size()) >= count * length) break;
    const std::vector<std::int32_t> ids = tokenizer.encode(document, false);
    if (ids.empty()) continue;
    stream.push_back(result.bos);
    stream.insert(stream.end(), ids.begin(), ids.end());
  }
  for (std::int64_t w = 0; w < count && (w + 1) * length <= static_cast<std::int64_t>(stream.size()); ++w) {
    result.windows.emplace_back(stream.begin() + w * length, stream.begin() + (w + 1) * length);
  }
  if (result.windows.empty()) {
    fail(ErrorKind::input, fmt::format("the text has {} tokens, a window needs {}", stream.size(), length),
         "--text", "give a longer text or ask for fewer tokens");
  }
  return result;
}

DenseCacheRun run_dense_cache(const Transformer& model, const CacheWindows& windows,
                              const ProgressListener& listener) {
  const std::int64_t vocabulary = model.config().vocabulary;
  DenseCacheRun dense;
  dense.logits.resize(windows.windows.size());
  dense.window_nats.resize(windows.windows.size());
  std::vector<std::int64_t> scored(windows.windows.size());
  Progress progress(listener, "dense cache", static_cast<std::int64_t>(windows.windows.size()));
  parallel_for(static_cast<std::int64_t>(windows.windows.size()), [&](std::int64_t w) {
    const auto at = static_cast<std::size_t>(w);
    const std::vector<std::int32_t>& tokens = windows.windows[at];
    const auto cache = make_exact_cache(model.kv_shape(), DType::f16);
    dense.logits[at].resize(static_cast<std::size_t>(windows.forced * vocabulary));
    visit_forced(model, *cache, windows, tokens, [&](std::int64_t i, const float* logits) {
      std::copy(logits, logits + vocabulary, dense.logits[at].data() + i * vocabulary);
      const auto target = target_of(windows, tokens, i);
      if (!target) return;
      dense.window_nats[at] += log_sum_exp(logits, vocabulary) - static_cast<double>(logits[*target]);
      ++scored[at];
    });
    progress.advance(1);
  });
  double nats = 0, tokens = 0;
  for (std::size_t w = 0; w < scored.size(); ++w) {
    nats += dense.window_nats[w];
    tokens += static_cast<double>(scored[w]);
  }
  dense.nats_per_token = nats / tokens;
  return dense;
}

CacheEvaluation evaluate_cache(const Transformer& model, const CacheMaker& make, const CacheWindows& windows,
                               const DenseCacheRun& dense, const ProgressListener& listener) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t vocabulary = model.config().vocabulary;
  const std::size_t count = windows.windows.size();
  struct Sums {
    std::vector<double> nats, kl, agreeing, tokens;  // by bucket
    KvBytes bytes;
  };
  std::vector<Sums> sums(count);
  const std::int64_t buckets = std::min(position_buckets, windows.forced);
  Progress progress(listener, "evaluating the cache", static_cast<std::int64_t>(count));
  parallel_for(static_cast<std::int64_t>(count), [&](std::int64_t w) {
    const auto at = static_cast<std::size_t>(w);
    const std::vector<std::int32_t>& tokens = windows.windows[at];
    Sums& sum = sums[at];
    for (std::vector<double>* list : {&sum.nats, &sum.kl, &sum.agreeing, &sum.tokens})
      list->assign(static_cast<std::size_t>(buckets), 0.0);
    const auto cache = make();
    visit_forced(model, *cache, windows, tokens, [&](std::int64_t i, const float* logits) {
      const auto target = target_of(windows, tokens, i);
      if (!target) return;
      const auto bucket = static_cast<std::size_t>(i * buckets / windows.forced);
      const float* reference = dense.logits[at].data() + i * vocabulary;
      const double shift = log_sum_exp(logits, vocabulary),
                   reference_shift = log_sum_exp(reference, vocabulary);
      sum.nats[bucket] += shift - static_cast<double>(logits[*target]);
      sum.kl[bucket] += kl_divergence(reference, reference_shift, logits, shift, vocabulary);
      if (argmax(reference, vocabulary) == argmax(logits, vocabulary)) sum.agreeing[bucket] += 1;
      sum.tokens[bucket] += 1;
    });
    sum.bytes = cache->bytes();
    progress.advance(1);
  });

  CacheEvaluation result;
  double nats = 0, kl = 0, agreeing = 0, tokens = 0;
  KvBytes bytes;
  std::vector<double> window_mean;
  for (const Sums& sum : sums) {
    double window_nats = 0, window_kl = 0, window_tokens = 0;
    for (std::size_t b = 0; b < sum.nats.size(); ++b) {
      window_nats += sum.nats[b];
      window_kl += sum.kl[b];
      agreeing += sum.agreeing[b];
      window_tokens += sum.tokens[b];
    }
    nats += window_nats;
    kl += window_kl;
    tokens += window_tokens;
    bytes += sum.bytes;
    result.window_nats.push_back(window_nats);
    result.window_kl.push_back(window_kl);
    window_mean.push_back(window_tokens > 0 ? window_kl / window_tokens : 0);
  }
  if (!std::isfinite(nats) || !std::isfinite(kl)) {
    fail(ErrorKind::input, "the model's logits over this cache hold NaN or infinite values", {},
         "its weights or the cache's trained bases are damaged");
  }
  for (std::int64_t b = 0; b < buckets; ++b) {
    double bucket_nats = 0, bucket_kl = 0, bucket_tokens = 0;
    for (const Sums& sum : sums) {
      bucket_nats += sum.nats[static_cast<std::size_t>(b)];
      bucket_kl += sum.kl[static_cast<std::size_t>(b)];
      bucket_tokens += sum.tokens[static_cast<std::size_t>(b)];
    }
    if (bucket_tokens == 0) continue;
    result.positions.push_back({windows.prompt + (b * windows.forced + buckets - 1) / buckets,
                                windows.prompt + ((b + 1) * windows.forced + buckets - 1) / buckets - 1,
                                std::exp(bucket_nats / bucket_tokens), bucket_kl / bucket_tokens});
  }
  result.tokens = static_cast<std::int64_t>(tokens);
  result.nats_per_token = nats / tokens;
  result.perplexity = std::exp(result.nats_per_token);
  result.dense_perplexity = std::exp(dense.nats_per_token);
  result.change = result.perplexity / result.dense_perplexity - 1;
  result.kl = kl / tokens;
  result.top1_agreement = agreeing / tokens;
  double variance = 0;
  for (const double mean : window_mean) variance += (mean - result.kl) * (mean - result.kl);
  if (count > 1) result.kl_error = std::sqrt(variance / static_cast<double>(count * (count - 1)));
  const auto share = [&](std::uint64_t total) { return (total + count / 2) / count; };
  result.bytes = {share(bytes.payload), share(bytes.scales), share(bytes.indices),
                  share(bytes.tables),  share(bytes.window), share(bytes.header)};
  result.bytes_per_token = static_cast<double>(bytes.total()) / static_cast<double>(count) /
                           static_cast<double>(windows.prompt + windows.forced);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace laconic
