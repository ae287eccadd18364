#include "runtime/evaluation/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

constexpr std::string_view document_end = "<|endoftext|>";

std::string_view stripped(std::string_view text) {
  while (text.starts_with('\n') || text.starts_with('\r')) text.remove_prefix(1);
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// -log p(target) for each row, f64, with the log-sum-exp over the row.
double log_sum_exp(const float* logits, std::int64_t count) {
  const float largest = *std::max_element(logits, logits + count);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(logits[i]) - largest);
  return largest + std::log(sum);
}

std::int64_t argmax(const float* logits, std::int64_t count) {
  return std::max_element(logits, logits + count) - logits;
}

// Logits of the scored rows: row t predicts token t + 1.
std::vector<float> scored_logits(const Transformer& model, const std::vector<std::int32_t>& window) {
  return model.forward({window.data(), window.size() - 1}, nullptr);
}

Evaluation summary(std::vector<double> nats, const EvaluationWindows& windows, double seconds) {
  Evaluation result;
  double sum = 0;
  for (const double window : nats) sum += window;
  result.window_nats = std::move(nats);
  result.tokens = windows.scored_tokens;
  result.nats_per_token = sum / static_cast<double>(windows.scored_tokens);
  result.perplexity = std::exp(result.nats_per_token);
  result.bits_per_byte = sum / std::log(2.0) / static_cast<double>(windows.utf8_bytes);
  result.seconds = seconds;
  return result;
}

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

EvaluationWindows make_windows(const Tokenizer& tokenizer, const ModelConfig& config, std::string_view text,
                               std::int64_t window_tokens, std::int64_t max_tokens) {
  if (window_tokens < 2 || window_tokens > config.max_positions) {
    fail(ErrorKind::usage,
         "a window of " + std::to_string(window_tokens) + " tokens does not fit the model's context of " +
             std::to_string(config.max_positions),
         "--context");
  }
  const std::optional<std::int32_t> known = tokenizer.bos();
  std::int32_t bos = 0;
  if (config.bos_token >= 0) {
    bos = static_cast<std::int32_t>(config.bos_token);
  } else if (known) {
    bos = *known;
  } else if (!config.eos_tokens.empty()) {
    bos = static_cast<std::int32_t>(
        config.eos_tokens.front());  // families without BOS separate documents by EOS
  } else {
    fail(ErrorKind::input, "neither model nor tokenizer names a BOS token", "config.json");
  }
  EvaluationWindows result;
  result.window_tokens = window_tokens;
  const auto room = static_cast<std::size_t>(window_tokens - 1);
  while (!text.empty() && (max_tokens == 0 || result.scored_tokens < max_tokens)) {
    const std::size_t end = text.find(document_end);
    const std::string_view document = stripped(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + document_end.size());
    if (document.empty()) continue;
    const std::vector<std::int32_t> ids = tokenizer.encode(document, false);
    for (std::size_t at = 0; at < ids.size(); at += room) {
      std::size_t count = std::min(room, ids.size() - at);
      if (max_tokens > 0)
        count = std::min(count, static_cast<std::size_t>(max_tokens - result.scored_tokens));
      if (count == 0) break;
      std::vector<std::int32_t> window = {bos};
      window.insert(window.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                    ids.begin() + static_cast<std::ptrdiff_t>(at + count));
      result.scored_tokens += static_cast<std::int64_t>(count);
      if (at == 0 && count == ids.size()) {
        result.utf8_bytes += static_cast<std::int64_t>(document.size());
      } else {
        // A window of a longer document: the bytes of its own tokens.
        for (std::size_t i = 0; i < count; ++i) {
          result.utf8_bytes += static_cast<std::int64_t>(tokenizer.token_bytes(ids[at + i]).size());
        }
      }
      result.windows.push_back(std::move(window));
    }
  }
  if (result.scored_tokens == 0) fail(ErrorKind::input, "holds no text to score", "evaluation text");
  result.utf8_bytes = std::max<std::int64_t>(result.utf8_bytes, 1);
  return result;
}

Evaluation evaluate(const Transformer& model, const EvaluationWindows& windows,
                    const ProgressListener& listener) {
  const auto start = Clock::now();
  const std::int64_t vocabulary = model.config().vocabulary;
  Progress progress(listener, "evaluating", static_cast<std::int64_t>(windows.windows.size()));
  std::vector<double> nats(windows.windows.size());
  parallel_for(static_cast<std::int64_t>(nats.size()), [&](std::int64_t w) {
    const std::vector<std::int32_t>& window = windows.windows[static_cast<std::size_t>(w)];
    const std::vector<float> logits = scored_logits(model, window);
    double sum = 0;
    for (std::size_t t = 0; t + 1 < window.size(); ++t) {
      const float* row = logits.data() + static_cast<std::int64_t>(t) * vocabulary;
      sum += log_sum_exp(row, vocabulary) - static_cast<double>(row[window[t + 1]]);
    }
    nats[static_cast<std::size_t>(w)] = sum;
    progress.advance();
  });
  return summary(std::move(nats), windows, since(start));
}

Evaluation evaluate_against(const Transformer& model, const Transformer& dense,
                            const EvaluationWindows& windows, const ProgressListener& listener) {
  const auto start = Clock::now();
  const std::int64_t vocabulary = model.config().vocabulary;
  require(vocabulary == dense.config().vocabulary, "both models share a vocabulary");
  Progress progress(listener, "comparing", static_cast<std::int64_t>(windows.windows.size()));
  std::vector<double> nats(windows.windows.size()), divergence(nats.size());
  std::vector<std::int64_t> agree(nats.size());
  parallel_for(static_cast<std::int64_t>(nats.size()), [&](std::int64_t w) {
    const auto index = static_cast<std::size_t>(w);
    const std::vector<std::int32_t>& window = windows.windows[index];
    const std::vector<float> own = scored_logits(model, window), reference = scored_logits(dense, window);
    for (std::size_t t = 0; t + 1 < window.size(); ++t) {
      const float* q = own.data() + static_cast<std::int64_t>(t) * vocabulary;
      const float* p = reference.data() + static_cast<std::int64_t>(t) * vocabulary;
      const double q_sum = log_sum_exp(q, vocabulary), p_sum = log_sum_exp(p, vocabulary);
      nats[index] += q_sum - static_cast<double>(q[window[t + 1]]);
      double kl = 0;
      for (std::int64_t v = 0; v < vocabulary; ++v) {
        const double log_p = static_cast<double>(p[v]) - p_sum;
        kl += std::exp(log_p) * (log_p - (static_cast<double>(q[v]) - q_sum));
      }
      divergence[index] += kl;
      agree[index] += argmax(q, vocabulary) == argmax(p, vocabulary);
    }
    progress.advance();
  });
  Evaluation result = summary(std::move(nats), windows, since(start));
  double kl = 0;
  std::int64_t agreed = 0;
  for (std::size_t w = 0; w < divergence.size(); ++w) {
    kl += divergence[w];
    agreed += agree[w];
  }
  result.kl = kl / static_cast<double>(windows.scored_tokens);
  result.top1_agreement = static_cast<double>(agreed) / static_cast<double>(windows.scored_tokens);
  result.window_kl = std::move(divergence);
  return result;
}

}  // namespace laconic
