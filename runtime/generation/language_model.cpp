#include "runtime/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

class TransformerModel final : public LanguageModel {
 public:
  TransformerModel(const std::filesystem::path& directory, const LoadOptions& options)
      : model_(Transformer::load(directory, options)),
        tokenizer_(Tokenizer::load(directory)),
        stop_tokens_(stop_tokens(model_.config(), directory)) {}

  std::int64_t context_tokens() const override { return model_.config().max_positions; }
  std::int64_t layers() const override { return model_.config().layers; }

  std::vector<std::int32_t> prompt_tokens(std::string_view text) const override {
    return laconic::prompt_tokens(*tokenizer_, model_.config(), text);
  }

  ContinuationScore score(std::string_view prompt, std::string_view continuation) const override {
    if (continuation.empty()) fail(ErrorKind::usage, "the continuation is empty", "score");
    const std::vector<std::int32_t> before = prompt_tokens(prompt);
    std::vector<std::int32_t> ids = prompt_tokens(std::string(prompt) + std::string(continuation));
    const bool joined = ids.size() > before.size() && std::equal(before.begin(), before.end(), ids.begin());
    if (!joined) {
      ids = before;
      const std::vector<std::int32_t> rest = tokenizer_->encode(continuation, false);
      ids.insert(ids.end(), rest.begin(), rest.end());
    }
    check_length(ids);
    const std::vector<float> logits = model_.forward({ids.data(), ids.size() - 1}, nullptr);
    const std::int64_t vocabulary = model_.config().vocabulary;
    ContinuationScore result;
    for (std::size_t t = before.size(); t < ids.size(); ++t) {
      const float* row = logits.data() + static_cast<std::int64_t>(t - 1) * vocabulary;
      result.log_probabilities.push_back(row[ids[t]] - log_sum_exp(row, vocabulary));
    }
    return result;
  }

  Generation generate(std::string_view prompt, const GenerationOptions& options,
                      const TextListener& listener) const override {
    GenerationOptions with_stops = options;
    with_stops.stop_tokens.insert(with_stops.stop_tokens.end(), stop_tokens_.begin(), stop_tokens_.end());
    return laconic::generate(model_, *tokenizer_, prompt_tokens(prompt), with_stops, listener);
  }

  TextStates hidden_states(std::string_view text, std::int64_t layer) const override {
    if (layer < 0 || layer > layers()) {
      fail(ErrorKind::usage, fmt::format("layer {} is not one of 0 to {}", layer, layers()), "hidden_states");
    }
    TextStates result;
    result.tokens = prompt_tokens(text);
    result.width = model_.config().hidden;
    check_length(result.tokens);
    result.states = model_.embed(result.tokens);
    for (std::int64_t block = 0; block < layer; ++block) {
      model_.run_block(block, result.states.data(), static_cast<std::int64_t>(result.tokens.size()), nullptr);
    }
    return result;
  }

 private:
  void check_length(const std::vector<std::int32_t>& ids) const {
    if (static_cast<std::int64_t>(ids.size()) <= context_tokens()) return;
    fail(ErrorKind::input,
         fmt::format("the text has {} tokens, the model's context {}", ids.size(), context_tokens()), {},
         "shorten the text");
  }

  Transformer model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::int32_t> stop_tokens_;
};

}  // namespace

double ContinuationScore::sum() const {
  return std::accumulate(log_probabilities.begin(), log_probabilities.end(), 0.0);
}

std::unique_ptr<LanguageModel> LanguageModel::load(const std::filesystem::path& model_directory,
                                                   const LoadOptions& options) {
  return std::make_unique<TransformerModel>(model_directory, options);
}

}  // namespace laconic
