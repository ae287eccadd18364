#include "runtime/evaluation/perplexity.h"

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

struct WindowSums {
  double nats = 0, kl = 0;
  std::int64_t tokens = 0, agreeing = 0;
};

using Clock = std::chrono::steady_clock;

// Windows run in parallel, each on one thread; their sums are added in order.
TextEvaluation gather(const EvaluationWindows& windows, const ProgressListener& listener,
                      const std::function<WindowSums(std::span<const std::int32_t>)>& measure) {
  const auto start = Clock::now();
  std::vector<WindowSums> sums(windows.windows.size());
  Progress progress(listener, "evaluating", windows.scored_tokens);
  parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    throw_if_interrupted();
    sums[index] = measure(windows.windows[index]);
    progress.advance(sums[index].tokens);
  });
  TextEvaluation result;
  double nats = 0, kl = 0, agreeing = 0;
  for (const WindowSums& window : sums) {
    nats += window.nats;
    kl += window.kl;
    agreeing += static_cast<double>(window.agreeing);
    result.tokens += window.tokens;
    result.window_nats.push_back(window.nats);
    result.window_kl.push_back(window.kl);
  }
  if (result.tokens == 0) fail(ErrorKind::input, "the text holds no token to score");
  if (!std::isfinite(nats) || !std::isfinite(kl)) {
    fail(ErrorKind::input, "the model's logits hold NaN or infinite values", {},
         "its weights are damaged or overflow; compress it again or use another copy");
  }
  const auto count = static_cast<double>(result.tokens);
  result.nats_per_token = nats / count;
  result.perplexity = std::exp(result.nats_per_token);
  if (windows.utf8_bytes > 0) {
    result.bits_per_byte = nats / std::log(2.0) / static_cast<double>(windows.utf8_bytes);
  }
  result.kl = kl / count;
  result.top1_agreement = agreeing / count;
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace

EvaluationWindows make_windows(const Tokenizer& tokenizer, const ModelConfig& config, std::string_view text,
                               std::int64_t window_tokens, std::int64_t max_tokens) {
  if (window_tokens < 2 || window_tokens > config.max_positions) {
    fail(ErrorKind::usage,
         fmt::format("a window of {} tokens does not fit the model's context of {}", window_tokens,
                     config.max_positions),
         "--context");
  }
  EvaluationWindows result;
  result.window_tokens = window_tokens;
  const std::int32_t bos = beginning_token(tokenizer, config);
  const auto wanted = [&] { return max_tokens <= 0 || result.scored_tokens < max_tokens; };
  for (const std::string_view document : split_documents(text)) {
    if (!wanted()) break;
    const std::vector<std::int32_t> ids = tokenizer.encode(document, false);
    const auto size = static_cast<std::int64_t>(ids.size());
    std::int64_t used = 0;
    while (used < size && wanted()) {
      const std::int64_t count = std::min(window_tokens - 1, size - used);
      std::vector<std::int32_t> window(static_cast<std::size_t>(count) + 1, bos);
      std::copy_n(ids.begin() + used, count, window.begin() + 1);
      used += count;
      result.scored_tokens += count;
      result.windows.push_back(std::move(window));
    }
    const std::size_t bytes = used == size
                                  ? document.size()
                                  : tokenizer.decode({ids.data(), static_cast<std::size_t>(used)}).size();
    result.utf8_bytes += static_cast<std::int64_t>(bytes);
  }
  if (result.scored_tokens == 0) {
    fail(ErrorKind::input, "the text holds no token to score", {}, "give a text with at least one word");
  }
  return result;
}

TextEvaluation evaluate(const Transformer& model, const EvaluationWindows& windows,
                        const ProgressListener& progress) {
  const std::int64_t vocabulary = model.config().vocabulary;
  TextEvaluation result = gather(windows, progress, [&](std::span<const std::int32_t> tokens) {
    WindowSums sums;
    visit_window_logits(model, tokens, [&](std::int64_t row, const float* logits) {
      const auto target = static_cast<std::size_t>(tokens[static_cast<std::size_t>(row) + 1]);
      require(static_cast<std::int64_t>(target) < vocabulary, "window tokens lie inside the vocabulary");
      sums.nats += log_sum_exp(logits, vocabulary) - logits[target];
      ++sums.tokens;
    });
    return sums;
  });
  result.window_kl.clear();
  return result;
}

TextEvaluation evaluate_against(const Transformer& model, const Transformer& dense,
                                const EvaluationWindows& windows, const ProgressListener& progress) {
  const std::int64_t vocabulary = model.config().vocabulary;
  return gather(windows, progress, [&](std::span<const std::int32_t> tokens) {
    WindowSums sums;
    visit_window_logits(
        dense, model, tokens, [&](std::int64_t row, const float* teacher, const float* student) {
          const auto target = static_cast<std::size_t>(tokens[static_cast<std::size_t>(row) + 1]);
          require(static_cast<std::int64_t>(target) < vocabulary, "window tokens lie inside the vocabulary");
          const double teacher_shift = log_sum_exp(teacher, vocabulary),
                       shift = log_sum_exp(student, vocabulary);
          sums.nats += shift - student[target];
          sums.kl += kl_divergence(teacher, teacher_shift, student, shift, vocabulary);
          sums.agreeing += argmax(teacher, vocabulary) == argmax(student, vocabulary) ? 1 : 0;
          ++sums.tokens;
        });
    return sums;
  });
}

}  // namespace laconic
