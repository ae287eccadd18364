#include "runtime/generation/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"
#include "engine/base/progress.h"
#include "runtime/documents.h"
#include "runtime/generation/utf8_stream.h"

namespace laconic {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Tells text from tokens: bytes are gathered until they are whole characters.
class TextOutput {
 public:
  TextOutput(const Tokenizer& tokenizer, const TextListener& listener, std::string& text)
      : tokenizer_(tokenizer), listener_(listener), text_(text) {}
  void add(std::int32_t token) {
    if (!tokenizer_.is_special(token)) show(stream_.push(tokenizer_.token_bytes(token)));
  }
  void finish() { show(stream_.finish()); }

 private:
  void show(const std::string& piece) {
    text_ += piece;
    if (listener_ && !piece.empty()) listener_(piece);
  }
  const Tokenizer& tokenizer_;
  const TextListener& listener_;
  std::string& text_;
  Utf8Stream stream_;
};

}  // namespace

std::vector<std::int32_t> stop_tokens(const ModelConfig& config,
                                      const std::filesystem::path& model_directory) {
  std::vector<std::int32_t> tokens;
  for (const std::int64_t id : config.eos_tokens) tokens.push_back(static_cast<std::int32_t>(id));
  const std::filesystem::path path = model_directory / "generation_config.json";
  if (std::filesystem::exists(path)) {
    const nlohmann::json json = parse_json(read_text_file(path, std::size_t{16} << 20), path.string());
    const auto add = [&](const nlohmann::json& value) {
      if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
          value.get<std::int64_t>() >= config.vocabulary) {
        fail(ErrorKind::input, "eos_token_id is not a token id inside the vocabulary", path.string());
      }
      tokens.push_back(value.get<std::int32_t>());
    };
    if (!json.is_object()) fail(ErrorKind::input, "is not a JSON object", path.string());
    const auto eos = json.find("eos_token_id");
    if (eos != json.end() && eos->is_array()) {
      for (const nlohmann::json& value : *eos) add(value);
    } else if (eos != json.end() && !eos->is_null()) {
      add(*eos);
    }
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

std::vector<std::int32_t> prompt_tokens(const Tokenizer& tokenizer, const ModelConfig& config,
                                        std::string_view text) {
  std::vector<std::int32_t> ids = tokenizer.encode(text, true);
  // An end token that the tokenizer adds by itself would end the text before anything is generated.
  const std::optional<std::int32_t> eos = tokenizer.eos();
  if (eos && !ids.empty() && ids.back() == *eos) {
    const std::vector<std::int32_t> plain = tokenizer.encode(text, false);
    if (plain.empty() || plain.back() != *eos) ids.pop_back();
  }
  if (ids.empty()) ids.push_back(beginning_token(tokenizer, config));
  return ids;
}

std::string_view name_of(StopReason reason) {
  switch (reason) {
    case StopReason::stop_token:
      return "stop_token";
    case StopReason::max_tokens:
      return "max_tokens";
    case StopReason::context_full:
      return "context_full";
    case StopReason::interrupted:
      return "interrupted";
  }
  return "";
}

Generation generate(const Transformer& model, const Tokenizer& tokenizer,
                    std::span<const std::int32_t> prompt, const GenerationOptions& options,
                    const TextListener& listener, KvCache* cache) {
  if (prompt.empty()) fail(ErrorKind::usage, "the prompt is empty", "prompt");
  if (options.max_tokens < 0) fail(ErrorKind::usage, "the number of tokens is negative", "tokens");
  std::unique_ptr<KvCache> own;
  if (cache == nullptr) {
    own = model.make_cache();
    cache = own.get();
  }
  const std::int64_t room = model.config().max_positions - cache->length();
  if (static_cast<std::int64_t>(prompt.size()) > room) {
    fail(ErrorKind::input,
         fmt::format("the prompt has {} tokens, the model's context has room for {}", prompt.size(), room),
         {}, "shorten the prompt");
  }
  Sampler sampler(options.sampling);
  Generation result;
  result.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  std::vector<std::int32_t> context(prompt.begin(), prompt.end());
  TextOutput output(tokenizer, listener, result.text);
  std::int64_t decoded = 0;
  auto start = Clock::now();
  std::span<const std::int32_t> next = prompt;
  try {
    while (static_cast<std::int64_t>(result.tokens.size()) < options.max_tokens) {
      if (!result.tokens.empty() && cache->length() >= model.config().max_positions) {
        result.reason = StopReason::context_full;
        break;
      }
      throw_if_interrupted();
      if (options.between_tokens) options.between_tokens();
      std::vector<float> logits = model.forward(next, cache, true);
      if (result.tokens.empty()) {
        result.prompt_seconds = seconds_since(start);
        start = Clock::now();
      } else {
        ++decoded;
      }
      const std::int32_t token = sampler.choose(logits, context);
      if (std::find(options.stop_tokens.begin(), options.stop_tokens.end(), token) !=
          options.stop_tokens.end()) {
        result.reason = StopReason::stop_token;
        break;
      }
      result.tokens.push_back(token);
      context.push_back(token);
      output.add(token);
      next = {&result.tokens.back(), 1};
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted || !options.keep_interrupted) throw;
    result.reason = StopReason::interrupted;
  }
  output.finish();
  result.decode_seconds = seconds_since(start);
  if (decoded > 0) result.tokens_per_second = static_cast<double>(decoded) / result.decode_seconds;
  return result;
}

}  // namespace laconic
