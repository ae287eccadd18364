#include "apps/cli/training_options.h"

#include <fmt/format.h>

#include <charconv>

#include "engine/base/error.h"

namespace laconic::cli {
namespace {

constexpr std::int64_t largest_count = std::int64_t{1} << 40;

std::pair<std::string, std::string> name_and_value(const std::string& text, std::string_view option) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    fail(ErrorKind::usage, fmt::format("\"{}\" is not name=value", text), option);
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// "100,150"
std::vector<std::int64_t> step_list(const std::string& text, std::string_view option) {
  std::vector<std::int64_t> steps;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::int64_t step = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, step);
    if (error != std::errc() || stop != text.data() + end || step < 1)
      fail(ErrorKind::usage, fmt::format("\"{}\" is not a list of steps like 100,150", text), option);
    steps.push_back(step);
    begin = end + 1;
  }
  return steps;
}

RateSchedule rate_schedule(const Arguments& arguments, const TrainingSettings& settings) {
  RateSchedule rate;
  const bool adam = settings.optimizer.kind == OptimizerSettings::Kind::adam;
  rate.rate = arguments.number("lr", adam ? 1e-3 : 0.1, 1e-12, 1e6);
  rate.steps = settings.steps;
  rate.warmup = arguments.integer("warmup", 0, 0, largest_count);
  rate.final_share = arguments.number("final-lr", 0, 0, 1);
  const std::string schedule = arguments.text("schedule", "constant");
  if (schedule == "constant") return rate;
  if (schedule == "cosine") {
    rate.kind = RateSchedule::Kind::cosine;
    return rate;
  }
  if (schedule.rfind("steps:", 0) == 0) {
    rate.kind = RateSchedule::Kind::steps;
    rate.falls = step_list(schedule.substr(6), "--schedule");
    return rate;
  }
  fail(ErrorKind::usage, fmt::format("\"{}\" is not a schedule", schedule), "--schedule",
       "constant, cosine, or steps:100,150 (times 0.1 after each)");
}

}  // namespace

std::string one_of(const Arguments& arguments, std::string_view name, std::string_view otherwise,
                   const std::vector<std::string>& known) {
  std::string value = arguments.text(name, otherwise);
  std::string list;
  for (const std::string& each : known) {
    if (each == value) return value;
    list += (list.empty() ? "" : ", ") + each;
  }
  fail(ErrorKind::usage, fmt::format("\"{}\" is not one of {}", value, list), fmt::format("--{}", name));
}

TaskRequest task_request(const Arguments& arguments) {
  TaskRequest request;
  request.dataset = arguments.text("task");
  request.model = arguments.text("model");
  request.data = data_folder(arguments);
  for (const std::string& text : arguments.list("option")) {
    const auto [name, value] = name_and_value(text, "--option");
    double number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
      fail(ErrorKind::usage, fmt::format("\"{}\" is not a number", value), "--option " + name);
    request.options[name] = number;
  }
  return request;
}

std::vector<std::pair<std::string, std::string>> method_parameters(const Arguments& arguments) {
  std::vector<std::pair<std::string, std::string>> parameters;
  for (const std::string& text : arguments.list("parameter"))
    parameters.push_back(name_and_value(text, "-p"));
  return parameters;
}

CheckpointOptions checkpoint_options(const Arguments& arguments) {
  if (arguments.has("checkpoint") && arguments.has("resume"))
    fail(ErrorKind::usage, "--resume CHECKPOINT already says where the checkpoint is", "--checkpoint");
  CheckpointOptions options;
  options.resume = arguments.has("resume");
  options.directory = arguments.text(options.resume ? "resume" : "checkpoint");
  options.every = arguments.integer("checkpoint-every", 0, 0, largest_count);
  return options;
}

TrainingSettings training_settings(const Arguments& arguments) {
  TrainingSettings settings;
  settings.steps = arguments.integer("steps", 500, 1, largest_count);
  settings.batch = arguments.integer("batch", 32, 1, 1 << 20);
  settings.accumulate = arguments.integer("accumulate", 1, 1, 1 << 20);
  settings.optimizer.kind = one_of(arguments, "optimizer", "sgd", {"sgd", "adam"}) == "adam"
                                ? OptimizerSettings::Kind::adam
                                : OptimizerSettings::Kind::sgd;
  settings.optimizer.momentum = arguments.number("momentum", 0.9, 0, 0.999999);
  settings.optimizer.nesterov = arguments.flag("nesterov");
  settings.optimizer.beta1 = arguments.number("beta1", 0.9, 0, 0.999999);
  settings.optimizer.beta2 = arguments.number("beta2", 0.999, 0, 0.9999999);
  settings.optimizer.weight_decay = arguments.number("weight-decay", 0, 0, 10);
  settings.rate = rate_schedule(arguments, settings);
  settings.clip = arguments.number("clip", 0, 0, 1e9);
  settings.clip_where = one_of(arguments, "clip-where", "before", {"before", "after"}) == "after"
                            ? TrainingSettings::Clip::after
                            : TrainingSettings::Clip::before;
  settings.bf16_gradients = arguments.flag("bf16-gradients");
  settings.seed = static_cast<std::uint64_t>(arguments.integer("seed", 1, 0, std::int64_t{1} << 53));
  if (const auto bytes = arguments.bytes("bucket")) settings.bucket_bytes = *bytes;
  settings.evaluate_every =
      arguments.integer("evaluate-every", std::max<std::int64_t>(settings.steps / 20, 1), 0, largest_count);
  settings.evaluate_limit = arguments.integer("evaluate-limit", 0, 0, largest_count);
  const CheckpointOptions kept = checkpoint_options(arguments);
  settings.resume = kept.resume;
  settings.checkpoint = kept.directory;
  settings.checkpoint_every = kept.every;
  return settings;
}

std::vector<OptionSpec> training_options() {
  using Kind = OptionSpec::Kind;
  return {
      {"task", Kind::text,
       "a data set (mnist, a9a, tinyshakespeare, synthetic-classes) or a file of your own"},
      {"--data", Kind::text, "the folder of data sets", false, "$LACONIC_DATA"},
      {"--model", Kind::text, "logistic, mlp, cnn, resnet20, vit, lm, ...", false,
       "the data set's usual one"},
      {"--option", Kind::list, "name=value of the model or data, as often as needed (width=128)"},
      {"-x,--exchange", Kind::text, "a method, a pipeline like 'ef:outliers(fraction=0.01)', or auto", false,
       "auto"},
      {"-p,--parameter", Kind::list, "name=value of the method, as often as needed"},
      {"--workers", Kind::integer, "ranks that train together", false, "2"},
      {"--launcher", Kind::text, "threads of this process, or mpi", false, "threads"},
      {"--partition", Kind::text,
       "examples of a worker: shared, iid, labels:N (classes each), dirichlet:A, sorted (by label), rows",
       false, "shared"},
      {"--steps", Kind::integer, "steps of the whole run", false, "500"},
      {"--batch", Kind::integer, "examples of a worker and backward pass", false, "32"},
      {"--accumulate", Kind::integer, "backward passes of a step", false, "1"},
      {"--optimizer", Kind::text, "sgd or adam, where the method has none of its own", false, "sgd"},
      {"--momentum", Kind::number, "of sgd", false, "0.9"},
      {"--nesterov", Kind::flag, "momentum looks ahead"},
      {"--beta1", Kind::number, "Adam's decay of the first moment", false, "0.9"},
      {"--beta2", Kind::number, "Adam's decay of the second moment", false, "0.999"},
      {"--weight-decay", Kind::number, "on matrices, outside compression", false, "0"},
      {"--lr", Kind::number, "learning rate", false, "0.1; 0.001 with adam and rmsprop"},
      {"--schedule", Kind::text, "constant, cosine, or steps:100,150 (times 0.1 after each)", false,
       "constant"},
      {"--final-lr", Kind::number, "where the cosine ends, as a share of --lr", false, "0"},
      {"--warmup", Kind::integer, "steps of linear warm-up", false, "0"},
      {"--clip", Kind::number, "largest l2 norm of a gradient; 0: any", false, "0"},
      {"--clip-where", Kind::text, "before the exchange (each worker's own) or after it", false, "before"},
      {"--bf16-gradients", Kind::flag, "round gradients to bf16 before the exchange"},
      {"--bucket", Kind::bytes, "tensors are exchanged together up to this size", false, "25MB"},
      {"--seed", Kind::integer, "initial weights, order of examples, all random numbers", false, "1"},
      {"--evaluate-every", Kind::integer, "steps between held-out losses; 0: only at the end", false,
       "a 20th of the run"},
      {"--evaluate-limit", Kind::integer, "held-out examples of an evaluation; 0: all", false, "0"},
      {"--checkpoint", Kind::text, "a directory that the run can be resumed from"},
      {"--checkpoint-every", Kind::integer, "steps; 0: at the end and when interrupted", false, "0"},
      {"--resume", Kind::text, "go on from this checkpoint, bit for bit"},
      {"--json", Kind::flag_or_text,
       "with a file: a log of every step as JSON lines; without: one value on "
       "standard output"},
      {"--report", Kind::text, "also write an HTML report here"},
  };
}

}  // namespace laconic::cli
