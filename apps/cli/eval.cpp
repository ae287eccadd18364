// laconic eval MODEL: perplexity, size and speed; with --against also divergence from the original.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/cli/cache_options.h"
#include "apps/cli/eval_cache.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::cli {
namespace {

double linear_bits(const CompressedModel* model, const std::filesystem::path& directory,
                   const ModelConfig& config) {
  std::uint64_t bytes = 0;
  std::int64_t weights = 0;
  std::optional<SafetensorsDirectory> dense;
  if (model == nullptr) dense.emplace(directory);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      const std::string name = linear_name(layer, static_cast<LinearSlot>(slot));
      if (model != nullptr && model->has_payload(name)) {
        const Payload payload = model->payload(name);
        bytes += to_frame(payload).size();
        weights += element_count(payload.shape);
      } else {
        const SafetensorsDirectory& tensors = model != nullptr ? model->tensors() : *dense;
        if (!tensors.contains(name)) continue;
        bytes += tensors.tensor(name).bytes();
        weights += tensors.tensor(name).elements();
      }
    }
  }
  return weights == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
}

// Options that one of the two kinds of evaluation has no use for.
void refuse_mixed_options(const Arguments& arguments, bool cache) {
  const std::vector<const char*> useless =
      cache ? std::vector<const char*>{"context", "tokens", "against"}
            : std::vector<const char*>{"windows",      "prompt-tokens", "forced-tokens", "cache-window",
                                       "cache-budget", "cache-ratio",   "cache-report"};
  for (const char* option : useless) {
    if (arguments.has(option))
      fail(ErrorKind::usage, cache ? "has no meaning with --cache" : "needs --cache",
           fmt::format("--{}", option), "laconic eval --help explains both");
  }
}

int eval(const Arguments& arguments, const Session& session) {
  refuse_mixed_options(arguments, arguments.has("cache"));
  if (arguments.has("cache")) return eval_cache(arguments, session);
  const std::filesystem::path directory = arguments.text("model");
  const std::optional<std::uint64_t> size = arguments.bytes("size");
  std::shared_ptr<const CompressedModel> compressed;
  if (CompressedModel::is_compressed(directory)) {
    compressed = std::make_shared<CompressedModel>(directory, OpenOptions{true, size});
  }
  LoadOptions options{size, print_notice, compressed, {}};
  const Transformer model = Transformer::load(directory, options);
  const auto tokenizer = Tokenizer::load(directory);
  const std::string text = read_text_file(arguments.text("text"));
  if (const auto fault = invalid_utf8_at(text)) {
    fmt::print(stderr, "laconic: {}: not UTF-8 at byte {}; such bytes are read as U+FFFD\n",
               arguments.text("text"), *fault);
  }
  const std::int64_t context = arguments.integer(
      "context", std::min<std::int64_t>(model.config().max_positions, 512), 2, std::int64_t{1} << 24);
  const EvaluationWindows windows = make_windows(*tokenizer, model.config(), text, context,
                                                 arguments.integer("tokens", 0, 0, std::int64_t{1} << 40));
  TextEvaluation result;
  const bool against = arguments.has("against");
  if (against) {
    result = evaluate_against(model, Transformer::load(arguments.text("against")), windows, session.progress);
  } else {
    result = evaluate(model, windows, session.progress);
  }
  const std::uint64_t stored =
      compressed ? compressed->safetensors_bytes() : SafetensorsDirectory(directory).file_bytes();
  const double bits = linear_bits(compressed.get(), directory, model.config());
  const double rate = static_cast<double>(result.tokens) / std::max(result.seconds, 1e-9);
  if (session.json) {
    const nlohmann::json value = {
        {"perplexity", result.perplexity},
        {"tokens", result.tokens},
        {"context", context},
        {"bits_per_byte", result.bits_per_byte},
        {"stored_bytes", stored},
        {"resident_bytes", model.resident_bytes()},
        {"linear_bits_per_weight", bits},
        {"kl", against ? nlohmann::json(result.kl) : nlohmann::json()},
        {"top1_agreement", against ? nlohmann::json(result.top1_agreement) : nlohmann::json()},
        {"tokens_per_second", rate}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("perplexity {:.4f} over {} tokens of {} in windows of {}\n", result.perplexity, result.tokens,
             arguments.text("text"), context);
  fmt::print("bits per byte {:.4f}\n", result.bits_per_byte);
  if (against) {
    fmt::print("KL from {} {:.6f} nats per token, same top token {:.2f} %\n", arguments.text("against"),
               result.kl, 100 * result.top1_agreement);
  }
  fmt::print("stored {}, resident {}, {:.3f} bits per linear weight, {:.0f} tokens/s\n", human_bytes(stored),
             human_bytes(model.resident_bytes()), bits, rate);
  return 0;
}

}  // namespace

Verb eval_verb() {
  using Kind = OptionSpec::Kind;
  Verb verb = {"eval",
               "Measure perplexity, size and speed of a model, or what a compressed KV cache costs it",
               "  laconic eval ./model --text held-out.txt\n"
               "  laconic eval ./model-2bit --text held-out.txt --against ./model --json\n"
               "  laconic eval ./model-stack --text held-out.txt --size 900MB\n"
               "  laconic eval ./model --text held-out.txt --cache 'kivi(bits=2)' --cache-report\n"
               "  laconic eval ./model --text held-out.txt --cache kivi --cache-ratio 5\n",
               {{"model", Kind::text, "a model directory, compressed or not", true},
                {"--text", Kind::text, "a text that neither training nor calibration used", true},
                {"--context", Kind::integer, "tokens per window", false, "the model's context, at most 512"},
                {"--tokens", Kind::integer, "stop after so many scored tokens", false, "all"},
                {"--against", Kind::text, "the original model: also report KL divergence and agreement"},
                {"--size", Kind::bytes,
                 "load at most so many bytes of a progressive model (bitstack), e.g. 900MB", false, "all"},
                {"--windows", Kind::integer, "with --cache: at most so many windows", false, "64"},
                {"--prompt-tokens", Kind::integer, "with --cache: tokens of a window that are its prompt",
                 false, "768, or 256 where the context is short"},
                {"--forced-tokens", Kind::integer,
                 "with --cache: tokens that go through the cache and are scored", false, "256, or 160"}},
               eval};
  verb.options.push_back({"--needles", Kind::integer,
                          "with --cache: look for so many facts at each of five depths of generated texts",
                          false, "0"});
  verb.options.push_back({"--needle-tokens", Kind::integer, "tokens of such a text with its question", false,
                          "the model's context, at most 1024"});
  verb.options.push_back({"--report", Kind::text, "with --cache: also write an HTML page with charts"});
  for (OptionSpec& spec : cache_option_specs()) {
    if (spec.name == "--cache") {  // several are compared
      spec.kind = Kind::list;
      spec.help += "; several are compared";
    }
    verb.options.push_back(std::move(spec));
  }
  return verb;
}

}  // namespace laconic::cli
