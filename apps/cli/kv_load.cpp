// laconic kv load MODEL CONTEXT: goes on from a stored context.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/context_options.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "methods/cache/cachegen/controller.h"
#include "methods/cache/context_store.h"
#include "runtime/generation/generate.h"

namespace laconic::cli {
namespace {

using LoadClock = std::chrono::steady_clock;

double seconds_since(LoadClock::time_point start) {
  return std::chrono::duration<double>(LoadClock::now() - start).count();
}

std::unique_ptr<ChunkPolicy> policy_of(const Arguments& arguments, const ContextIndex& index,
                                       const PrefillCost& prefill) {
  if (arguments.has("level")) return fixed_form(form_of_level(arguments.text("level"), index));
  if (!arguments.has("slo")) return fixed_form(index.forms.size() / 2);
  StreamSettings settings;
  settings.slo = arguments.number("slo", 1, 1e-6, 1e6);
  if (arguments.has("bandwidth")) settings.bits_per_second = 1e6 * arguments.number("bandwidth", 0, 0, 1e9);
  settings.prefill = prefill;
  return std::make_unique<StreamController>(StreamController::of(settings, index));
}

nlohmann::json as_json(const LoadedContext& loaded, const ContextIndex& index) {
  nlohmann::json chunks = nlohmann::json::array();
  for (const LoadedChunk& chunk : loaded.chunks) {
    chunks.push_back({{"level", index.forms.size() - chunk.form},
                      {"bytes", chunk.bytes},
                      {"read_seconds", chunk.read_seconds},
                      {"use_seconds", chunk.use_seconds},
                      {"fault", chunk.fault}});
  }
  return chunks;
}

int load(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("model");
  if (arguments.has("slo") && arguments.has("level"))
    fail(ErrorKind::usage, "both a level and a time to choose it by", "--slo", "give one of them");
  if (arguments.has("bandwidth") && !arguments.has("slo"))
    fail(ErrorKind::usage, "needs --slo", "--bandwidth", "it helps to choose the first level");
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = Transformer::load(directory, {std::nullopt, print_notice, nullptr, {}});
  const ContextModel context_model = ContextModel::of(model, directory, arguments.text("cache-bases"));
  const PrefillCost prefill = arguments.has("slo") ? measure_prefill(model) : PrefillCost();

  // The clock of the first token runs from here: the model is there already, its weights are in memory.
  model.forward(std::vector<std::int32_t>{0}, model.make_cache().get(), true);
  const auto start = LoadClock::now();
  const auto source = open_context(arguments.text("context"), arguments);
  const ContextIndex index = read_context_index(*source);
  const auto policy = policy_of(arguments, index, prefill);
  ContextLoadOptions options;
  options.pipeline = arguments.text("cache");
  options.notice = print_notice;
  options.progress = session.progress;
  const LoadedContext loaded = load_context(context_model, *source, index, *policy, options);

  std::vector<std::int32_t> prompt = loaded.rest;
  const std::vector<std::int32_t> more = tokenizer->encode(arguments.text("prompt"), false);
  prompt.insert(prompt.end(), more.begin(), more.end());
  GenerationOptions generation;
  generation.max_tokens = arguments.integer("tokens", 64, 1, std::int64_t{1} << 24);
  generation.stop_tokens = stop_tokens(model.config(), directory);
  generation.keep_interrupted = true;
  const TextListener listener = [&](std::string_view piece) {
    if (session.json) return;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  const double before = seconds_since(start);
  const Generation result = generate(model, *tokenizer, prompt, generation, listener, loaded.cache.get());
  const double first_token = before + result.prompt_seconds;

  std::uint64_t bytes = 0;
  std::string levels;
  for (const LoadedChunk& chunk : loaded.chunks) {
    bytes += chunk.bytes;
    levels += (levels.empty() ? "" : " ") + std::to_string(index.forms.size() - chunk.form);
  }
  if (session.json) {
    const nlohmann::json value = {{"text", result.text},
                                  {"token_ids", result.tokens},
                                  {"context_tokens", index.cached_tokens()},
                                  {"bytes", bytes},
                                  {"load_seconds", loaded.seconds},
                                  {"first_token_seconds", first_token},
                                  {"chunks", as_json(loaded, index)}};
    fmt::print("{}\n", value.dump(2));
  } else {
    fmt::print("\n");
    fmt::print(stderr, "{} for {} tokens in {:.3f} s, levels {}; first token after {:.3f} s\n",
               human_bytes(bytes), index.cached_tokens(), loaded.seconds, levels, first_token);
  }
  return result.reason == StopReason::interrupted ? 130 : 0;
}

}  // namespace

Verb kv_load_verb() {
  using Kind = OptionSpec::Kind;
  return {
      "kv load",
      "Go on from a stored context, from a file or over a network",
      "  laconic kv load ./model book.kv --prompt \" In one sentence:\"\n"
      "  laconic kv load ./model http://127.0.0.1:8080/book.kv --slo 0.5\n",
      {{"model", Kind::text, "the model that the context was saved with", true},
       {"context", Kind::text, "a file, or its address on a server", true},
       {"--prompt", Kind::text, "text that follows the context"},
       {"--tokens", Kind::integer, "make at most so many tokens", false, "64"},
       {"--level", Kind::text, "1 coarsest, 0 only text, which is computed anew", false, "the middle one"},
       {"--slo", Kind::number,
        "seconds to the first token: every chunk comes in the finest level that meets it"},
       {"--bandwidth", Kind::number, "with --slo: Mbit/s that are expected of the link at first"},
       {"--cache", Kind::text, "what keeps the tokens that follow", false,
        "as the context, f16 for cachegen"},
       {"--cache-bases", Kind::text, "directory whose kv/ holds trained bases", false, "the model's"},
       stall_option_spec()},
      load};
}

}  // namespace laconic::cli
