#include "apps/cli/train_federated.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/cli/federated_report.h"
#include "apps/cli/training_options.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/gradients/federated/federated_training.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/json_lines.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic::cli {
namespace {

constexpr std::int64_t most_rounds = std::int64_t{1} << 40;

// "20" clients a round, or "0.1" of them.
int participants_of(const Arguments& arguments, int clients) {
  if (!arguments.has("participation")) return std::max(1, clients / 10);
  const double wanted = arguments.number("participation", 0, 1e-9, 65535);
  if (wanted < 1) return std::max(1, static_cast<int>(std::lround(wanted * clients)));
  if (wanted != std::floor(wanted)) {
    fail(ErrorKind::usage, fmt::format("{} is neither a share below 1 nor a number of clients", wanted),
         "--participation");
  }
  return static_cast<int>(wanted);
}

FederatedSettings federated_settings(const Arguments& arguments, const MethodDescription& method,
                                     const TrainingTask& task) {
  for (const char* name : {"steps", "workers", "optimizer", "momentum", "accumulate"}) {
    if (!arguments.has(name)) continue;
    fail(ErrorKind::usage, fmt::format("goes with workers, and {} trains over clients", method.slug),
         fmt::format("--{}", name), "see --clients, --rounds, --local-steps, --local-optimizer");
  }
  FederatedSettings settings;
  settings.algorithm = method.federated;
  settings.parameters = Parameters(method.parameters);
  for (const auto& [name, value] : method_parameters(arguments)) settings.parameters.set(name, value);
  settings.seed = static_cast<std::uint64_t>(arguments.integer("seed", 1, 0, std::int64_t{1} << 53));
  const auto clients = static_cast<int>(arguments.integer("clients", 100, 1, 65535));
  const std::string partition = arguments.text("partition", "iid");
  settings.examples_of = worker_examples(partition, task, clients, settings.seed);
  if (settings.examples_of.empty()) {
    fail(ErrorKind::usage, "clients have examples of their own", "--partition " + partition,
         "iid, labels:N, dirichlet:A, sorted or rows");
  }
  settings.participants = participants_of(arguments, clients);
  settings.rounds = arguments.integer("rounds", 100, 1, most_rounds);
  settings.local_steps = arguments.integer("local-steps", 10, 1, 1 << 20);
  settings.batch = arguments.integer("batch", 32, 1, 1 << 20);
  const bool rmsprop = one_of(arguments, "local-optimizer", "sgd", {"sgd", "rmsprop"}) == "rmsprop";
  if (rmsprop) settings.local_optimizer = rmsprop_settings();
  settings.local_rate = arguments.number("lr", rmsprop ? 0.001 : 0.1, 1e-12, 1e6);
  settings.server_rate = arguments.number("server-lr", 1, 1e-12, 1e6);
  settings.evaluate_every =
      arguments.integer("evaluate-every", std::max<std::int64_t>(settings.rounds / 20, 1), 0, most_rounds);
  settings.evaluate_limit = arguments.integer("evaluate-limit", 0, 0, most_rounds);
  const CheckpointOptions kept = checkpoint_options(arguments);
  settings.resume = kept.resume;
  settings.checkpoint = kept.directory;
  settings.checkpoint_every = kept.every;
  return settings;
}

nlohmann::json result_json(const FederatedResult& result, const nlohmann::json& settings) {
  const Evaluation& last = *result.evaluations.back().held_out;
  nlohmann::json evaluations = nlohmann::json::array();
  for (const RoundRecord& record : result.evaluations) {
    nlohmann::json entry = {{"round", record.round},
                            {"loss", record.held_out->loss},
                            {"bytes_up", record.total_bytes_up},
                            {"bytes_down", record.total_bytes_down}};
    if (record.held_out->accuracy) entry["accuracy"] = *record.held_out->accuracy;
    evaluations.push_back(std::move(entry));
  }
  nlohmann::json value = {{"settings", settings},
                          {"loss", last.loss},
                          {"parameters", result.parameters},
                          {"rounds", result.rounds},
                          {"refused", result.refused},
                          {"resumed_from", result.resumed_from},
                          {"clients", result.clients},
                          {"clients_with_examples", result.population},
                          {"bytes_up", result.bytes_up},
                          {"bytes_down", result.bytes_down},
                          {"seconds", result.seconds},
                          {"evaluations", evaluations},
                          {"hash", result.hash}};
  if (last.accuracy) value["accuracy"] = *last.accuracy;
  return value;
}

std::vector<std::pair<std::string, std::string>> named_pairs(const nlohmann::json& named) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : named.items())
    pairs.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  return pairs;
}

void print_result(const FederatedResult& result, const FederatedSettings& settings, const TrainingTask& task,
                  const std::string& method) {
  const Evaluation& last = *result.evaluations.back().held_out;
  fmt::print("{}\n", method);
  fmt::print("held-out loss {:.5f} nats", last.loss);
  if (last.accuracy) fmt::print(", accuracy {:.2f} %", 100 * *last.accuracy);
  fmt::print(" over {} {}\n", last.count, task.unit());
  fmt::print("{} clients, {} a round, {} rounds, {} parameters", result.clients, settings.participants,
             result.rounds, result.parameters);
  if (result.refused > 0) fmt::print(", {} rounds refused", result.refused);
  if (result.resumed_from > 0) fmt::print(", resumed after round {}", result.resumed_from);
  const double dense = 4.0 * static_cast<double>(result.parameters) * settings.participants *
                       static_cast<double>(result.rounds);
  fmt::print("\n{} up and {} down; one f32 vector for every client and round is {}",
             human_bytes(result.bytes_up), human_bytes(result.bytes_down),
             human_bytes(static_cast<std::uint64_t>(dense)));
  if (result.bytes_up > 0)
    fmt::print(" ({:.2f} times the uplink)", dense / static_cast<double>(result.bytes_up));
  fmt::print("\n{}\nparameters {}\n", human_seconds(result.seconds), result.hash);
}

}  // namespace

std::vector<OptionSpec> federated_options() {
  using Kind = OptionSpec::Kind;
  return {{"--clients", Kind::integer, "clients of a federated method", false, "100"},
          {"--participation", Kind::number, "clients of a round: a number, or a share below 1", false, "0.1"},
          {"--rounds", Kind::integer, "rounds of a federated run", false, "100"},
          {"--local-steps", Kind::integer, "steps of a client in a round, of rate --lr", false, "10"},
          {"--local-optimizer", Kind::text, "of a client's steps: sgd (plain) or rmsprop, new in every round",
           false, "sgd"},
          {"--server-lr", Kind::number, "rate of the server in a federated run", false, "1"}};
}

int train_federated(const Arguments& arguments, const Session& session) {
  const MethodDescription& method = method_named(arguments.text("exchange"));
  require(method.federated != nullptr, "the method trains over clients");
  const std::unique_ptr<TrainingTask> task = make_training_task(task_request(arguments));
  const FederatedSettings settings = federated_settings(arguments, method, *task);
  const nlohmann::json named = {{"task", task->text()},
                                {"exchange", settings.parameters.canonical(method.slug)},
                                {"clients", settings.examples_of.size()},
                                {"participation", settings.participants},
                                {"partition", arguments.text("partition", "iid")},
                                {"rounds", settings.rounds},
                                {"local_steps", settings.local_steps},
                                {"batch", settings.batch},
                                {"lr", settings.local_rate},
                                {"server_lr", settings.server_rate},
                                {"local_optimizer", arguments.text("local-optimizer", "sgd")},
                                {"seed", settings.seed}};
  std::optional<JsonLines> log;
  if (!arguments.text("json").empty()) log.emplace(arguments.text("json"), "round");
  FederatedListener listener;
  listener.on_begin = [&](std::int64_t after_round) {
    if (!log) return;
    log->begin(after_round);
    nlohmann::json run = named;
    run["event"] = "run";
    run["after_round"] = after_round;
    log->line(run);
  };
  const bool reports = arguments.has("report");
  std::vector<RoundRecord> rounds;
  listener.on_round = [&](const RoundRecord& record) {
    if (log) log->line(record.to_json());
    if (reports) rounds.push_back(record);
    if (!record.held_out || session.json || isatty(STDERR_FILENO) == 0) return;
    std::string line = fmt::format("round {}  held-out loss {:.4f}", record.round, record.held_out->loss);
    if (record.held_out->accuracy)
      line += fmt::format("  accuracy {:.2f} %", 100 * *record.held_out->accuracy);
    print_notice("\r\033[K" + line + "  " + human_bytes(record.total_bytes_up) + " up");
  };
  listener.message = print_notice;
  listener.progress = session.progress;
  const FederatedResult result = train_clients(*task, settings, listener);
  if (log) {
    nlohmann::json end = {{"event", "end"},
                          {"rounds", result.rounds},
                          {"bytes_up", result.bytes_up},
                          {"bytes_down", result.bytes_down},
                          {"seconds", result.seconds},
                          {"hash", result.hash}};
    log->line(end);
  }
  if (reports) {
    write_file(arguments.text("report"),
               federated_html(named_pairs(named), task->unit(), settings.participants, rounds, result));
  }
  if (session.json) {
    fmt::print("{}\n", result_json(result, named).dump(2));
  } else {
    print_result(result, settings, *task, settings.parameters.canonical(method.slug));
  }
  return 0;
}

}  // namespace laconic::cli
