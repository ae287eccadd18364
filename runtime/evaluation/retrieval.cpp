#include "runtime/evaluation/retrieval.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "runtime/evaluation/window_logits.h"

namespace laconic {
namespace {

double nats_of(const std::vector<float>& logits, std::int32_t target) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float value : logits) sum += std::exp(static_cast<double>(value) - top);
  return top + std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

Retrieval retrieve_one(const Transformer& model, const RetrievalWindow& window,
                       const RetrievalOptions& options) {
  std::unique_ptr<KvCache> cache = options.cache ? options.cache() : model.make_cache();
  std::vector<std::int32_t> prompt = window.context, tail;
  (options.question_in_prompt ? prompt : tail)
      .insert(options.question_in_prompt ? prompt.end() : tail.end(), window.question.begin(),
              window.question.end());
  std::vector<float> logits;
  const auto run = [&](std::span<const std::int32_t> tokens, std::int64_t rows) {
    const std::size_t step = rows > 0 ? static_cast<std::size_t>(rows) : tokens.size();
    for (std::size_t begin = 0; begin < tokens.size(); begin += step) {
      throw_if_interrupted();
      logits = model.forward(tokens.subspan(begin, std::min(step, tokens.size() - begin)), cache.get(), true);
    }
  };
  run(prompt, options.prompt_rows);
  if (options.after_prompt) options.after_prompt(*cache);
  run(tail, 1);
  Retrieval result{window.depth, true, 0, 0};
  for (std::size_t i = 0; i < window.answer.size(); ++i) {
    if (i > 0) run(std::span(window.answer).subspan(i - 1, 1), 1);
    const std::int32_t target = window.answer[i];
    result.found &= argmax(logits.data(), static_cast<std::int64_t>(logits.size())) == target;
    result.nats += nats_of(logits, target) / static_cast<double>(window.answer.size());
  }
  result.cache_bytes = cache->bytes();
  return result;
}

}  // namespace

TokenCounter token_counter(const Tokenizer& tokenizer) {
  return [&tokenizer](std::string_view text) {
    return static_cast<std::int64_t>(tokenizer.encode(text, false).size());
  };
}

RetrievalWindow make_retrieval_window(const Tokenizer& tokenizer, const ModelConfig& config,
                                      const RetrievalSample& sample) {
  RetrievalWindow window;
  window.depth = sample.depth;
  const std::int64_t bos = config.bos_token >= 0 ? config.bos_token : tokenizer.bos().value_or(-1);
  if (bos < 0) fail(ErrorKind::unsupported, "the model has no token that starts a text", "bos_token");
  window.context = tokenizer.encode(sample.context, false);
  window.context.insert(window.context.begin(), static_cast<std::int32_t>(bos));
  window.question = tokenizer.encode(sample.question, false);
  window.answer = tokenizer.encode(sample.answer, false);
  require(!window.question.empty() && !window.answer.empty(), "a sample has a question and an answer");
  const auto tokens =
      static_cast<std::int64_t>(window.context.size() + window.question.size() + window.answer.size());
  if (tokens > config.max_positions) {
    fail(ErrorKind::usage, "a window of " + std::to_string(tokens) + " tokens", {},
         "the model has " + std::to_string(config.max_positions) + " positions");
  }
  return window;
}

std::vector<RetrievalWindow> make_retrieval_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                                    std::int64_t window_tokens,
                                                    std::span<const double> depths, std::int64_t count,
                                                    const NeedleOptions& options, std::uint64_t seed,
                                                    std::uint64_t first, const Haystack& haystack) {
  std::vector<RetrievalWindow> windows(depths.size() * static_cast<std::size_t>(count));
  parallel_for(static_cast<std::int64_t>(windows.size()), [&](std::int64_t i) {
    NeedleOptions placed = options;
    placed.tokens = window_tokens - 1;
    placed.depth = depths[static_cast<std::size_t>(i / count)];
    RetrievalWindow& window = windows[static_cast<std::size_t>(i)];
    window = make_retrieval_window(
        tokenizer, config,
        make_needle(placed, seed, first + static_cast<std::uint64_t>(i), haystack, token_counter(tokenizer)));
    window.depth = placed.depth;
  });
  return windows;
}

std::vector<Retrieval> retrieve(const Transformer& model, std::span<const RetrievalWindow> windows,
                                const RetrievalOptions& options) {
  std::vector<Retrieval> results(windows.size());
  Progress progress(options.progress, "retrieving", static_cast<std::int64_t>(windows.size()));
  parallel_for(static_cast<std::int64_t>(windows.size()), [&](std::int64_t i) {
    results[static_cast<std::size_t>(i)] = retrieve_one(model, windows[static_cast<std::size_t>(i)], options);
    progress.advance();
  });
  return results;
}

double found_share(std::span<const Retrieval> results) {
  if (results.empty()) return 0;
  const auto found =
      std::count_if(results.begin(), results.end(), [](const Retrieval& r) { return r.found; });
  return static_cast<double>(found) / static_cast<double>(results.size());
}

}  // namespace laconic
