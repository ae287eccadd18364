// laconic kv load, serve and fetch.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/kv.h"
#include "apps/transfer/context_server.h"
#include "apps/transfer/http_source.h"
#include "engine/base/error.h"
#include "methods/cache/cachegen/controller.h"
#include "methods/cache/context_store.h"
#include "runtime/generation/generate.h"

namespace laconic::cli {
namespace {

std::unique_ptr<ContextSource> open_context(const std::string& place, const Arguments& arguments) {
  if (!is_url(place)) return open_context_file(place);
  HttpSourceOptions options;
  options.stall_seconds = arguments.number("stall", 10, 0.01, 86400);
  return open_context_url(place, options);
}

// Level n of a context with f forms is form f - n; 0 is text.
std::size_t form_of_level(const std::string& level, const ContextIndex& index) {
  std::size_t read = 0;
  int number = -1;
  try {
    number = std::stoi(level, &read);
  } catch (const std::exception&) {
    read = 0;
  }
  const auto forms = static_cast<int>(index.forms.size());
  if (read != level.size() || level.empty() || number < 0 || number > forms) {
    fail(ErrorKind::usage, fmt::format("\"{}\" is no level of this context", level), "--level",
         fmt::format("it has the levels 1 to {}, and 0 for text alone", forms));
  }
  return static_cast<std::size_t>(forms - number);
}

std::string chunk_list(const LoadedContext& loaded, const ContextIndex& index) {
  std::string text;
  for (const LoadedChunk& chunk : loaded.chunks)
    text += (text.empty() ? "" : " ") + std::to_string(index.forms.size() - chunk.form);
  return text;
}

}  // namespace

int kv_load(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("what");
  const std::string place = arguments.text("context");
  if (place.empty())
    fail(ErrorKind::usage, "kv load needs a context", "kv", "name its file or address after the model");
  if (arguments.has("slo") && arguments.has("level"))
    fail(ErrorKind::usage, "both a level and a time to choose it by", "--slo", "give one of them");
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = Transformer::load(directory, {std::nullopt, print_notice, nullptr, {}});
  const ContextModel context_model = ContextModel::of(model, directory);
  std::optional<PrefillCost> prefill;
  if (arguments.has("slo")) prefill = measure_prefill(model);

  // The clock of the first token runs from here: model and program are there already.
  const auto start = std::chrono::steady_clock::now();
  const auto source = open_context(place, arguments);
  const ContextIndex index = read_context_index(*source);
  std::unique_ptr<ChunkPolicy> policy;
  if (arguments.has("slo")) {
    StreamSettings settings;
    settings.slo = arguments.number("slo", 1, 1e-6, 1e6);
    if (arguments.has("bandwidth")) settings.bits_per_second = 1e6 * arguments.number("bandwidth", 0, 0, 1e9);
    settings.prefill = *prefill;
    policy = std::make_unique<StreamController>(StreamController::of(settings, index));
  } else if (arguments.has("level")) {
    policy = fixed_form(form_of_level(arguments.text("level"), index));
  } else {
    policy = fixed_form(index.forms.size() / 2);
  }
  ContextLoadOptions options;
  options.pipeline = arguments.text("cache");
  options.notice = print_notice;
  options.progress = session.progress;
  LoadedContext loaded = load_context(context_model, *source, index, *policy, options);

  std::vector<std::int32_t> prompt = loaded.rest;
  const std::vector<std::int32_t> more = tokenizer->encode(arguments.text("prompt"), false);
  prompt.insert(prompt.end(), more.begin(), more.end());
  GenerationOptions generation;
  generation.max_tokens = arguments.integer("tokens", 64, 1, std::int64_t{1} << 24);
  generation.stop_tokens = stop_tokens(model.config(), directory);
  generation.keep_interrupted = true;
  double first_token = 0;
  const auto began = std::chrono::steady_clock::now();
  const TextListener listener = [&](std::string_view piece) {
    if (session.json) return;
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  const Generation result = generate(model, *tokenizer, prompt, generation, listener, loaded.cache.get());
  first_token = std::chrono::duration<double>(began - start).count() + result.prompt_seconds;
  std::uint64_t bytes = 0;
  for (const LoadedChunk& chunk : loaded.chunks) bytes += chunk.bytes;
  if (session.json) {
    nlohmann::json chunks = nlohmann::json::array();
    for (const LoadedChunk& chunk : loaded.chunks) {
      chunks.push_back({{"level", index.forms.size() - chunk.form},
                        {"bytes", chunk.bytes},
                        {"read_seconds", chunk.read_seconds},
                        {"use_seconds", chunk.use_seconds},
                        {"fault", chunk.fault}});
    }
    const nlohmann::json value = {
        {"text", result.text}, {"token_ids", result.tokens},     {"context_tokens", index.cached_tokens()},
        {"bytes", bytes},      {"load_seconds", loaded.seconds}, {"first_token_seconds", first_token},
        {"chunks", chunks}};
    fmt::print("{}\n", value.dump(2));
  } else {
    fmt::print("\n");
    fmt::print(stderr, "{} of {} tokens in {:.3f} s, levels {}; first token after {:.3f} s\n",
               human_bytes(bytes), index.cached_tokens(), loaded.seconds, chunk_list(loaded, index),
               first_token);
  }
  return result.reason == StopReason::interrupted ? 130 : 0;
}

int kv_serve(const Arguments& arguments, const Session& session) {
  const std::string host = arguments.text("host", "127.0.0.1");
  ContextServer server(arguments.text("what"), host,
                       static_cast<int>(arguments.integer("port", 8080, 0, 65535)));
  std::thread serving([&] { server.run(); });
  if (session.json) {
    fmt::print("{}\n", nlohmann::json({{"host", host}, {"port", server.port()}}).dump());
  } else {
    fmt::print("serving {} at http://{}:{}\n", arguments.text("what"), host, server.port());
  }
  std::fflush(stdout);
  while (!interrupt_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  serving.join();
  if (!session.json) fmt::print(stderr, "{} sent\n", human_bytes(server.bytes_sent()));
  return 0;
}

int kv_fetch(const Arguments& arguments, const Session& session) {
  const std::string url = arguments.text("what");
  const std::filesystem::path output = arguments.text("output");
  if (output.empty()) fail(ErrorKind::usage, "kv fetch needs a file to write", "kv", "name it with -o");
  const auto source = open_context(url, arguments);
  const ContextIndex index = read_context_index(*source);
  ContextCopyOptions options;
  options.wanted.assign(index.forms.size(), true);
  if (const std::string level = arguments.text("level", "all"); level != "all") {
    options.wanted.assign(index.forms.size(), false);
    const std::size_t form = form_of_level(level, index);
    if (form < index.forms.size()) options.wanted[form] = true;
  }
  options.notice = print_notice;
  options.progress = session.progress;
  const auto start = std::chrono::steady_clock::now();
  const ContextIndex copied = copy_context(*source, index, output, options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (session.json) {
    const nlohmann::json value = {{"file", output.string()}, {"bytes", copied.bytes()}, {"seconds", seconds}};
    fmt::print("{}\n", value.dump(2));
  } else {
    fmt::print("{}: {} in {:.2f} s\n", output.string(), human_bytes(copied.bytes()), seconds);
  }
  return 0;
}

}  // namespace laconic::cli
