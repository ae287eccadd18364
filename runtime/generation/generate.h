// Token-by-token generation over a KV cache, streamed as whole UTF-8 characters.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/generation/sampler.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

struct GenerationOptions {
  std::int64_t max_tokens = 128;
  SamplingOptions sampling;
  std::vector<std::int32_t> stop_tokens;
  // Called before each token is computed. Layers may be swapped here, because nothing is running.
  std::function<void()> between_tokens;
  // When the user asks to stop: return what was made so far instead of throwing Error(interrupted).
  bool keep_interrupted = false;
};

enum class StopReason { stop_token, max_tokens, context_full, interrupted };
std::string_view name_of(StopReason reason);

struct Generation {
  std::vector<std::int32_t> tokens;  // without the stop token
  std::string text;                  // without special tokens
  StopReason reason = StopReason::max_tokens;
  std::int64_t prompt_tokens = 0;
  double prompt_seconds = 0, decode_seconds = 0;
  double tokens_per_second = 0;  // of decoding; the first token comes with the prompt
};

// eos_token_id of config.json and of generation_config.json, sorted.
std::vector<std::int32_t> stop_tokens(const ModelConfig& config,
                                      const std::filesystem::path& model_directory);

// Tokens of a text as a prompt has them: with what the tokenizer puts before a text, without what it puts
// after. An empty text is the token that begins a text; refused when there is none.
std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, const ModelConfig& config,
                                        std::string_view text);

// Receives text as it is made. May throw (Error(interrupted), say) to end the generation.
using TextListener = std::function<void(std::string_view)>;

// Refuses an empty prompt and one that does not fit the model's context, and logits that are not numbers.
// `cache` may hold earlier tokens and is left holding all tokens but the last one made; null: a fresh one.
Generation generate(const Transformer& model, const Tokenizer& tokenizer,
                    std::span<const std::int32_t> prompt, const GenerationOptions& options,
                    const TextListener& listener = {}, KvCache* cache = nullptr);

}  // namespace laconic
