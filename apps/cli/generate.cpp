// laconic generate MODEL --prompt TEXT: continues a text, or answers it in the form of the model's chat
// template.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/cli/cache_options.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "runtime/chat/chat_template.h"
#include "runtime/generation/generate.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::cli {
namespace {

// The option's text, or standard input to its end for "-"; the line end that a shell puts there is not part
// of the prompt.
std::string prompt_text(const std::string& option) {
  constexpr std::size_t largest = std::size_t{64} << 20;
  std::string text = option;
  if (option == "-") {
    text.clear();
    char buffer[65536];
    for (;;) {
      const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
      throw_if_interrupted();
      if (count < 0) fail(ErrorKind::io, std::strerror(errno), "the prompt on standard input");
      if (count == 0) break;
      text.append(buffer, static_cast<std::size_t>(count));
      if (text.size() > largest) fail(ErrorKind::input, "is over 64 MiB", "the prompt on standard input");
    }
    if (!text.empty() && text.back() == '\n') text.pop_back();
  }
  if (const auto fault = invalid_utf8_at(text)) {
    fail(ErrorKind::input, fmt::format("is not UTF-8 at byte {}", *fault), "the prompt",
         "convert it, for example with iconv -f latin1 -t utf-8");
  }
  return text;
}

// Text for a terminal: a model must not be able to move the cursor or change its colours.
std::string visible(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) {
      shown += "\xEF\xBF\xBD";
    } else {
      shown += c;
    }
  }
  return shown;
}

void print_text(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(ErrorKind::io, fmt::format("cannot write: {}", std::strerror(errno)), "standard output");
  }
}

GenerationOptions options_of(const Arguments& arguments) {
  GenerationOptions options;
  options.max_tokens = arguments.integer("tokens", 256, 1, std::int64_t{1} << 24);
  const bool draws = arguments.has("top-k") || arguments.has("top-p");
  options.sampling.temperature = arguments.number("temperature", draws ? 1 : 0, 0, 1000);
  options.sampling.top_k = arguments.integer("top-k", 0, 0, std::int64_t{1} << 31);
  options.sampling.top_p = arguments.number("top-p", 1, 1e-9, 1);
  options.sampling.repetition_penalty = arguments.number("repetition-penalty", 1, 1e-3, 1000);
  options.sampling.seed = static_cast<std::uint64_t>(arguments.integer("seed", 0, 0, std::int64_t{1} << 53));
  options.keep_interrupted = true;
  return options;
}

Transformer load_model(const std::filesystem::path& directory, const Arguments& arguments) {
  return Transformer::load(directory, {arguments.bytes("size"), print_notice, nullptr, {}});
}

// One message of the user, up to where the model answers. The template writes the special tokens itself.
std::vector<std::int32_t> chat_tokens(const std::filesystem::path& directory, const Tokenizer& tokenizer,
                                      const std::string& text) {
  const ChatMessage message{"user", text};
  std::vector<std::int32_t> ids =
      tokenizer.encode(ChatTemplate::load(directory).render({&message, 1}), false);
  if (ids.empty()) fail(ErrorKind::input, "the chat template makes an empty prompt", directory.string());
  return ids;
}

nlohmann::json as_json(const Generation& result, std::string_view prompt, std::uint64_t seed) {
  return {{"prompt", prompt},
          {"text", result.text},
          {"token_ids", result.tokens},
          {"tokens", result.tokens.size()},
          {"prompt_tokens", result.prompt_tokens},
          {"stopped_by", name_of(result.reason)},
          {"seed", seed},
          {"prompt_seconds", result.prompt_seconds},
          {"tokens_per_second", result.tokens_per_second}};
}

int generate_text(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("model");
  GenerationOptions options = options_of(arguments);
  const std::string text = prompt_text(arguments.text("prompt"));
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = load_model(directory, arguments);
  options.stop_tokens = stop_tokens(model.config(), directory);
  const bool chat = arguments.flag("chat");
  const std::vector<std::int32_t> prompt =
      chat ? chat_tokens(directory, *tokenizer, text) : prompt_tokens(*tokenizer, model.config(), text);
  // Models taught to converse end a turn with the tokenizer's EOS even where config.json names another.
  if (chat && tokenizer->eos()) options.stop_tokens.push_back(*tokenizer->eos());

  const bool on_terminal = isatty(STDOUT_FILENO) != 0;
  TextListener listener;
  if (!session.json) {
    listener = [on_terminal](std::string_view piece) {
      if (on_terminal) {
        print_text(visible(piece));
      } else {
        print_text(piece);
      }
    };
  }
  const auto factory = cache_from(arguments, arguments.text("cache"), model, directory,
                                  [&](KvCache& filled) { model.forward(prompt, &filled, true); });
  const std::unique_ptr<KvCache> cache = factory == nullptr ? model.make_cache() : factory->make();
  const Generation result = generate(model, *tokenizer, prompt, options, listener, cache.get());
  const double held = static_cast<double>(std::max<std::int64_t>(1, cache->length()));
  const double cache_bytes = static_cast<double>(cache->bytes().total()) / held;
  if (session.json) {
    // Bytes that never became a character were shown as U+FFFD already, so this is valid UTF-8.
    nlohmann::json value = as_json(result, text, options.sampling.seed);
    value["cache"] = factory == nullptr ? "f32" : factory->canonical();
    value["cache_bytes_per_token"] = cache_bytes;
    print_text(value.dump(2) + "\n");
  } else {
    print_text("\n");
  }
  if (factory != nullptr && !session.json) {
    fmt::print(stderr, "cache {}: {:.1f} bytes per token over {} tokens\n", factory->canonical(), cache_bytes,
               cache->length());
    if (arguments.flag("cache-report")) fmt::print(stderr, "{}", cache_table(*cache));
  }
  if (!session.json && isatty(STDERR_FILENO) != 0) {
    fmt::print(stderr, "{} tokens, {:.1f} tokens/s; {} of the prompt in {:.2f} s; {}\n", result.tokens.size(),
               result.tokens_per_second, result.prompt_tokens, result.prompt_seconds, name_of(result.reason));
  }
  return result.reason == StopReason::interrupted ? 130 : 0;
}

}  // namespace

Verb generate_verb() {
  using Kind = OptionSpec::Kind;
  Verb verb = {
      "generate",
      "Continue a text with a model",
      "  laconic generate ./model --prompt \"Once upon a time\"\n"
      "  laconic generate ./model --chat --prompt \"What is a perceptron?\"\n"
      "  laconic generate ./model --prompt \"Once upon a time\" --cache 'kivi(bits=2)'\n"
      "  laconic generate ./model-2bit --prompt - --tokens 500 --temperature 0.8 --top-p 0.95 < start.txt\n",
      {{"model", Kind::text, "a model directory, compressed or not", true},
       {"--prompt", Kind::text, "the text to continue; - reads standard input, without its last line end",
        true},
       {"--chat", Kind::flag, "the prompt is a message: put it in the form of the model's chat template"},
       {"--tokens", Kind::integer, "make at most so many tokens", false, "256"},
       {"--temperature", Kind::number, "0 takes the most probable token, 1 draws as the model predicts",
        false, "0; 1 with --top-k or --top-p"},
       {"--top-k", Kind::integer, "draw from the K most probable tokens", false, "all"},
       {"--top-p", Kind::number, "draw from the most probable tokens that together reach P", false, "1"},
       {"--repetition-penalty", Kind::number, "over 1 makes tokens that occurred less probable", false, "1"},
       {"--seed", Kind::integer, "another seed draws another text", false, "0"},
       {"--size", Kind::bytes, "load at most so many bytes of a progressive model (bitstack), e.g. 900MB",
        false, "all"}},
      generate_text};
  for (OptionSpec& spec : cache_option_specs()) verb.options.push_back(std::move(spec));
  return verb;
}

}  // namespace laconic::cli
