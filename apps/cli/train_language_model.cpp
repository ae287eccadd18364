// laconic train without a task: a small language model from text, by the LibTorch plug-in.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/cli/train.h"
#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "methods/lab_plugin.h"

namespace laconic::cli {
namespace {

constexpr std::int64_t any_count = std::int64_t{1} << 40;

// The numbers of a request with the options that set them, for the help and for reading.
struct IntegerOption {
  const char* name;
  std::int64_t TrainLanguageModelRequest::*field;
  const char* help;
};
constexpr IntegerOption integer_options[] = {
    {"layers", &TrainLanguageModelRequest::layers, "transformer blocks"},
    {"hidden", &TrainLanguageModelRequest::hidden, "width of the residual stream"},
    {"heads", &TrainLanguageModelRequest::heads, "query heads"},
    {"kv-heads", &TrainLanguageModelRequest::kv_heads, "key and value heads; they divide the query heads"},
    {"head-dim", &TrainLanguageModelRequest::head_dim, "width of a head"},
    {"mlp", &TrainLanguageModelRequest::mlp, "inner width of the gated MLP"},
    {"vocabulary", &TrainLanguageModelRequest::vocabulary, "pieces of the tokenizer that is trained"},
    {"context", &TrainLanguageModelRequest::context, "positions, and tokens per training window"},
    {"steps", &TrainLanguageModelRequest::steps, "optimizer steps"},
    {"batch", &TrainLanguageModelRequest::batch_tokens, "tokens per step, about"},
    {"warmup", &TrainLanguageModelRequest::warmup_steps, "steps of linear warm-up"},
    {"checkpoint-every", &TrainLanguageModelRequest::checkpoint_every,
     "steps between the states that an interrupted run continues from"},
    {"evaluate-every", &TrainLanguageModelRequest::evaluate_every,
     "steps between held-out losses in loss.tsv"},
};

// "256:0.45:0.35:0.3:0": tokens per window, share of the steps, shares of windows that are text, needles and
// far needles.
CurriculumStage parse_stage(const std::string& text) {
  CurriculumStage stage;
  char rest = 0;
  long long context = 0;
  if (std::sscanf(text.c_str(), "%lld:%lf:%lf:%lf:%lf%c", &context, &stage.steps, &stage.text, &stage.needles,
                  &stage.far_needles, &rest) != 5) {
    fail(ErrorKind::usage, "a stage is CONTEXT:STEPS:TEXT:NEEDLES:FAR", "--curriculum " + text,
         "e.g. --curriculum 256:0.5:0.4:0.3:0 --curriculum 1024:0.5:0.4:0.3:0");
  }
  stage.context = context;
  return stage;
}

struct NumberOption {
  const char* name;
  double TrainLanguageModelRequest::*field;
  double low, high;
  const char* help;
};
constexpr NumberOption number_options[] = {
    {"lr", &TrainLanguageModelRequest::learning_rate, 1e-9, 10, "largest learning rate"},
    {"final-lr", &TrainLanguageModelRequest::final_learning_rate, 0, 1,
     "where the cosine ends, as a share of --lr"},
    {"weight-decay", &TrainLanguageModelRequest::weight_decay, 0, 10, "AdamW decay of the matrices"},
    {"beta1", &TrainLanguageModelRequest::beta1, 0, 0.999999, "AdamW decay of the first moment"},
    {"beta2", &TrainLanguageModelRequest::beta2, 0, 0.999999, "AdamW decay of the second moment"},
    {"clip", &TrainLanguageModelRequest::gradient_clip, 0, 1e6, "largest l2 norm of the gradient; 0: any"},
    {"rope-theta", &TrainLanguageModelRequest::rope_theta, 1, 1e9, "base of the rotary positions"},
    {"answer-weight", &TrainLanguageModelRequest::answer_weight, 0, 1000,
     "with --curriculum: weight of what can be looked up"},
    {"given-weight", &TrainLanguageModelRequest::given_weight, 0, 1000,
     "with --curriculum: weight of what was drawn at random"},
};

}  // namespace

int train_language_model(const Arguments& arguments, const Session& session) {
  TrainLanguageModelRequest request = training_recipe(arguments.text("recipe", "stories"));
  if (!arguments.has("output")) {
    fail(ErrorKind::usage, "name a task to train, or the model directory to make", "train",
         "laconic train mnist --exchange dgc, or laconic train -o ./stories");
  }
  request.output = arguments.text("output");
  request.replace = arguments.flag("force");
  if (arguments.has("text")) request.text = arguments.list("text");
  request.data = data_folder(arguments);
  if (arguments.has("curriculum")) {
    request.curriculum.clear();
    for (const std::string& stage : arguments.list("curriculum"))
      request.curriculum.push_back(parse_stage(stage));
  }
  if (arguments.flag("split-digits")) request.split_digits = true;
  if (arguments.flag("induction-start")) request.induction_start = true;
  request.held_out = arguments.text("held-out");
  request.tokenizer = arguments.text("tokenizer");
  request.from = arguments.text("from");
  request.stories = static_cast<std::uint64_t>(
      arguments.integer("stories", static_cast<std::int64_t>(request.stories), 1, 100'000'000));
  request.seed = static_cast<std::uint64_t>(
      arguments.integer("seed", static_cast<std::int64_t>(request.seed), 0, std::int64_t{1} << 53));
  for (const IntegerOption& option : integer_options) {
    request.*option.field = arguments.integer(option.name, request.*option.field, 1, any_count);
  }
  for (const NumberOption& option : number_options) {
    request.*option.field = arguments.number(option.name, request.*option.field, option.low, option.high);
  }
  request.threads = thread_count();
  request.progress = session.progress;
  const TrainLanguageModelResult result = load_lab().train_language_model(request);
  if (session.json) {
    const nlohmann::json value = {{"output", request.output.string()},
                                  {"parameters", result.parameters},
                                  {"stored_bytes", result.safetensors_bytes},
                                  {"perplexity", result.perplexity},
                                  {"tokens", result.scored_tokens},
                                  {"training_loss", result.training_loss},
                                  {"steps", result.steps},
                                  {"trained_tokens", result.trained_tokens},
                                  {"resumed_from", result.resumed_from},
                                  {"seed", request.seed},
                                  {"threads", request.threads},
                                  {"seconds", result.seconds}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}  {} parameters, {}\n", request.output.string(), result.parameters,
             human_bytes(result.safetensors_bytes));
  fmt::print("perplexity {:.4f} over {} held-out tokens; training loss {:.4f} nats per token\n",
             result.perplexity, result.scored_tokens, result.training_loss);
  fmt::print("{} steps, {} tokens, {} threads, seed {}, {}", result.steps, result.trained_tokens,
             request.threads, request.seed, human_seconds(result.seconds));
  if (result.resumed_from > 0) fmt::print(", resumed at step {}", result.resumed_from);
  fmt::print("\n");
  return 0;
}

std::vector<OptionSpec> language_model_options() {
  using Kind = OptionSpec::Kind;
  const TrainLanguageModelRequest defaults;
  std::vector<OptionSpec> options = {
      {"-o,--output", Kind::text, "the model directory to make"},
      {"--recipe", Kind::text,
       "values of all options that are not given: stories, or long (a model whose long "
       "context matters)",
       false, "stories"},
      {"--text", Kind::list, "text files, documents separated by <|endoftext|>, or names of text sets", false,
       "generated stories"},
      {"--curriculum", Kind::list,
       "stages CONTEXT:STEPS:TEXT:NEEDLES:FAR of windows: their tokens, their share of the "
       "steps, and the share of running text in them; the rest are retrieval documents",
       false, "none"},
      {"--split-digits", Kind::flag, "the trained tokenizer makes every digit a token"},
      {"--induction-start", Kind::flag, "initial weights that hold a head which looks up"},
      {"--stories", Kind::integer, "generated stories to train on", false, std::to_string(defaults.stories)},
      {"--held-out", Kind::text, "a text file to measure on", false,
       "400 held-out stories, or the last 2 % of --text"},
      {"--tokenizer", Kind::text, "a model directory whose tokenizer is used", false, "trained on the text"},
      {"--from", Kind::text, "a model directory of the same shape whose weights and tokenizer are the start",
       false, "random weights"},
      {"--force", Kind::flag, "replace an existing output"}};
  for (const IntegerOption& option : integer_options) {
    options.push_back({std::string("--") + option.name, Kind::integer, option.help, false,
                       std::to_string(defaults.*option.field)});
  }
  for (const NumberOption& option : number_options) {
    options.push_back({std::string("--") + option.name, Kind::number, option.help, false,
                       fmt::format("{}", defaults.*option.field)});
  }
  return options;
}

}  // namespace laconic::cli
