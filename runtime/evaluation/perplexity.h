// Language-model evaluation, protocol P1: documents from the corpus's separator `<|endoftext|>` (else the
// whole text is one), newlines stripped at both ends, tokenised once, cut into windows of at most T tokens
// that start with BOS, no overlap, every token after BOS scored once. Perplexity = exp(mean nats), sums in
// f64.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

struct EvaluationWindows {
  std::vector<std::vector<std::int32_t>> windows;  // each starts with BOS
  std::int64_t scored_tokens = 0;
  std::int64_t utf8_bytes = 0;  // of the scored text
  std::int64_t window_tokens = 0;
};

// `max_tokens` > 0 stops after the window that reaches that many scored tokens. BOS is the one of
// config.json, else of the tokenizer, else EOS. Refuses a text that gives no scored token, and windows longer
// than the model's context.
EvaluationWindows make_windows(const Tokenizer& tokenizer, const ModelConfig& config, std::string_view text,
                               std::int64_t window_tokens, std::int64_t max_tokens = 0);

struct TextEvaluation {
  double nats_per_token = 0, perplexity = 0, bits_per_byte = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  std::vector<double> window_nats;  // sum per window, for paired errors
  // Filled by the form that compares with a dense model:
  double kl = 0;              // mean KL(dense || compressed), nats per token
  double top1_agreement = 0;  // ties: lowest id
  std::vector<double> window_kl;
};

TextEvaluation evaluate(const Transformer& model, const EvaluationWindows& windows,
                        const ProgressListener& progress = {});
TextEvaluation evaluate_against(const Transformer& model, const Transformer& dense,
                                const EvaluationWindows& windows, const ProgressListener& progress = {});

}  // namespace laconic
