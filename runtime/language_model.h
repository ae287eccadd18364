// A language model as analysis and context methods see it: text in, scores, text or hidden states out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/generation/generate.h"

namespace laconic {

// ln p of each token of a continuation, given the prompt and the tokens before it.
struct ContinuationScore {
  std::vector<double> log_probabilities;  // nats
  double sum() const;
};

// One layer's view of a text: hidden states [tokens, width] after `layer` blocks (0: the embeddings).
struct TextStates {
  std::vector<std::int32_t> tokens;
  std::vector<float> states;
  std::int64_t width = 0;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  // Model and tokenizer of a directory, dense or compressed.
  static std::unique_ptr<LanguageModel> load(const std::filesystem::path& model_directory,
                                             const LoadOptions& options = {});

  virtual std::int64_t context_tokens() const = 0;
  virtual std::int64_t layers() const = 0;
  // Tokens as a prompt has them: with what the tokenizer puts before a text, without what it puts after.
  virtual std::vector<std::int32_t> prompt_tokens(std::string_view text) const = 0;
  // Prompt and continuation are tokenised as one text; where the prompt's last token would swallow the start
  // of the continuation, each is tokenised by itself. Refuses an empty continuation and text beyond the
  // context.
  virtual ContinuationScore score(std::string_view prompt, std::string_view continuation) const = 0;
  // The model's own stop tokens are added to those of the options.
  virtual Generation generate(std::string_view prompt, const GenerationOptions& options,
                              const TextListener& listener = {}) const = 0;
  virtual TextStates hidden_states(std::string_view text, std::int64_t layer) const = 0;
};

}  // namespace laconic
