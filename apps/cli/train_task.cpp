// laconic train TASK: ranks as threads or over MPI, a log, a report, and a summary.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/cli/collective_options.h"
#include "apps/cli/mpi_ranks.h"
#include "apps/cli/train.h"
#include "apps/cli/train_federated.h"
#include "apps/cli/training_options.h"
#include "apps/cli/training_report.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/transport/mpi_plugin.h"
#include "engine/transport/tcp/tcp_world.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/training_log.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic::cli {
namespace {

using NamedSettings = std::vector<std::pair<std::string, std::string>>;

// A run as rank 0 sees and shows it.
class TrainingRun {
 public:
  TrainingRun(const Arguments& arguments, const Session& session)
      : arguments_(arguments),
        session_(session),
        settings_(training_settings(arguments)),
        task_(make_training_task(task_request(arguments))),
        exchange_text_(arguments.text("exchange", "auto")) {
    if (exchange_text_ != "auto") {
      candidates_ = {exchange_by_name(exchange_text_, method_parameters(arguments))};
    } else {
      if (arguments.has("parameter"))
        fail(ErrorKind::usage, "auto takes no parameters: it chooses them", "-p", "name a method");
      candidates_ = automatic_candidates();
    }
    keeps_steps_ = arguments.has("report");
  }

  // What each rank does; rank 0 keeps the result.
  void run_rank(CommunicationThread& thread) {
    TrainingSettings settings = settings_;
    settings.examples_of =
        worker_examples(arguments_.text("partition", "shared"), *task_, thread.size(), settings.seed);
    const bool leads = thread.rank() == 0;
    std::size_t chosen = 0;
    if (exchange_text_ == "auto") {
      const AutomaticChoice choice = choose_exchange(*task_, settings, candidates_, thread);
      chosen = choice.chosen;
      if (leads) {
        choice_ = choice;
        print_notice(choice.explanation);
      }
    }
    const ExchangeCandidate& candidate = candidates_[chosen];
    use_exchange(settings, candidate);
    TrainingListener listener;
    if (leads) {
      named_ = named_settings(thread.size(), candidate.text);
      listener = this->listener();
    }
    TrainingResult result = train_rank(*task_, settings, thread, listener);
    if (leads) result_ = std::move(result);
  }

  // A member of a run whose members come and go. Whoever has rank 0 leads, so each has a listener.
  void run_member(PeerOptions options, int least_members) {
    if (exchange_text_ == "auto")
      fail(ErrorKind::usage, "is chosen by ranks that stay", "--exchange auto",
           "name a method with --transport");
    if (arguments_.text("partition", "shared") != "shared")
      fail(ErrorKind::usage, "members come and go: they draw from all examples", "--partition",
           "leave it out with --transport");
    TrainingSettings settings = settings_;
    settings.least_members = least_members;
    use_exchange(settings, candidates_[0]);
    named_ = named_settings(least_members, candidates_[0].text);
    options.settings = elastic_settings_text(*task_, settings);
    const std::unique_ptr<ElasticWorld> world = join_tcp_run(std::move(options));
    result_ = train_member(*task_, settings, *world, listener());
    elastic_ = true;
  }

  void show() const {
    if (result_.evaluations.empty()) {  // another member led to the end
      if (session_.json) {
        fmt::print("{}\n", nlohmann::json({{"steps", result_.steps}, {"hash", result_.hash}}).dump(2));
      } else {
        fmt::print("{} steps done\nparameters {}\n", result_.steps, result_.hash);
      }
      return;
    }
    const EvaluationRecord& last = result_.evaluations.back();
    if (log_) log_->end(result_);
    if (arguments_.has("report"))
      write_file(arguments_.text("report"), training_html(named_, task_->unit(), steps_, result_));
    if (session_.json) {
      fmt::print("{}\n", as_json().dump(2));
      return;
    }
    fmt::print("{}\n", named_exchange());
    fmt::print("held-out loss {:.5f} nats", last.held_out.loss);
    if (last.held_out.accuracy) fmt::print(", accuracy {}", accuracy_text(last.held_out));
    fmt::print(" over {} {}; training loss {:.5f}\n", last.held_out.count, task_->unit(), last.training_loss);
    fmt::print("{} workers, {} steps, {} parameters", result_.ranks, result_.steps, result_.parameters);
    if (result_.refused > 0)
      fmt::print(", {} {} refused", result_.refused, result_.rounds > 0 ? "rounds" : "steps");
    if (result_.resumed_from > 0) fmt::print(", resumed after step {}", result_.resumed_from);
    fmt::print("\n");
    if (elastic_) {
      fmt::print("{} {} of members, {} of state taken over from others\n", result_.groups,
                 result_.groups == 1 ? "group" : "groups", human_bytes(result_.state_bytes));
    }
    if (result_.rounds > 0) {
      fmt::print("{} rounds of {} local steps, waited {} a round for reductions\n", result_.rounds,
                 result_.tau, human_seconds(result_.wait / static_cast<double>(result_.rounds)));
    }
    fmt::print("sent {} a worker; a ring all-reduce in f32 of every step sends {}",
               human_bytes(result_.sent_bytes), human_bytes(result_.dense_bytes));
    if (result_.sent_bytes > 0) {
      fmt::print(" ({:.2f} times as much)",
                 static_cast<double>(result_.dense_bytes) / static_cast<double>(result_.sent_bytes));
    }
    fmt::print("\n{}: backward passes {}, encoding {}, decoding {}, waiting {}\n",
               human_seconds(result_.seconds), human_seconds(result_.compute), human_seconds(result_.encode),
               human_seconds(result_.decode), human_seconds(result_.wait));
    fmt::print("parameters {}\n", result_.hash);
  }

 private:
  std::string named_exchange() const {
    for (const auto& [name, value] : named_) {
      if (name == "exchange") return value;
    }
    return {};
  }

  NamedSettings named_settings(int ranks, const std::string& exchange) const {
    return {{"task", task_->text()},
            {"exchange", exchange},
            {"workers", std::to_string(ranks)},
            {"partition", arguments_.text("partition", "shared")},
            {"steps", std::to_string(settings_.steps)},
            {"batch", fmt::format("{} x {}", settings_.batch, settings_.accumulate)},
            {"optimizer", settings_.optimizer.text()},
            {"schedule", settings_.rate.text()},
            {"clip", settings_.clip > 0 ? fmt::format("{} {} the exchange", settings_.clip,
                                                      arguments_.text("clip-where", "before"))
                                        : std::string("none")},
            {"seed", std::to_string(settings_.seed)}};
  }

  TrainingListener listener() {
    TrainingListener listener;
    if (!arguments_.text("json").empty()) log_.emplace(arguments_.text("json"));
    listener.on_begin = [this](std::int64_t after_step) {
      if (log_) log_->begin(after_step, named_);
    };
    listener.on_step = [this](const StepRecord& record) {
      if (log_) log_->step(record);
      if (keeps_steps_) steps_.push_back(record);
    };
    listener.on_round = [this](const LocalRoundRecord& record) {
      if (log_) log_->round(record);
    };
    listener.on_evaluation = [this](const EvaluationRecord& record) {
      if (log_) log_->evaluation(record);
      if (session_.json || isatty(STDERR_FILENO) == 0) return;
      std::string line = fmt::format("step {}  held-out loss {:.4f}", record.step, record.held_out.loss);
      if (record.held_out.accuracy) line += "  accuracy " + accuracy_text(record.held_out);
      print_notice("\r\033[K" + line + "  " + human_bytes(record.sent_bytes) + " sent");
    };
    listener.message = print_notice;
    listener.progress = session_.progress;
    return listener;
  }

  nlohmann::json as_json() const {
    const EvaluationRecord& last = result_.evaluations.back();
    nlohmann::json settings = nlohmann::json::object();
    for (const auto& [name, value] : named_) settings[name] = value;
    nlohmann::json evaluations = nlohmann::json::array();
    for (const EvaluationRecord& record : result_.evaluations) {
      nlohmann::json entry = {{"step", record.step},
                              {"loss", record.held_out.loss},
                              {"training_loss", record.training_loss},
                              {"bytes_up", record.sent_bytes},
                              {"seconds", record.seconds}};
      if (record.held_out.accuracy) entry["accuracy"] = *record.held_out.accuracy;
      if (record.held_out.clean_accuracy) entry["clean_accuracy"] = *record.held_out.clean_accuracy;
      evaluations.push_back(std::move(entry));
    }
    nlohmann::json timeline = nlohmann::json::array();
    for (const TimelineSpan& span : result_.timeline)
      timeline.push_back({{"name", span.name}, {"begin", span.begin}, {"end", span.end}});
    nlohmann::json value = {{"settings", settings},
                            {"loss", last.held_out.loss},
                            {"training_loss", last.training_loss},
                            {"parameters", result_.parameters},
                            {"steps", result_.steps},
                            {"refused", result_.refused},
                            {"resumed_from", result_.resumed_from},
                            {"bytes_up", result_.sent_bytes},
                            {"bytes_up_all_workers", result_.all_sent_bytes},
                            {"dense_bytes", result_.dense_bytes},
                            {"seconds",
                             {{"steps", result_.seconds},
                              {"compute", result_.compute},
                              {"encode", result_.encode},
                              {"decode", result_.decode},
                              {"wait", result_.wait}}},
                            {"evaluations", evaluations},
                            {"timeline", timeline},
                            {"hash", result_.hash}};
    if (elastic_) {
      value["groups"] = result_.groups;
      value["state_bytes"] = result_.state_bytes;
    }
    if (last.held_out.accuracy) value["accuracy"] = *last.held_out.accuracy;
    if (last.held_out.clean_accuracy) value["clean_accuracy"] = *last.held_out.clean_accuracy;
    if (result_.rounds > 0) {
      value["rounds"] = result_.rounds;
      value["tau"] = result_.tau;
    }
    if (choice_) {
      value["automatic"] = {{"explanation", choice_->explanation},
                            {"seconds_per_message", choice_->link.alpha},
                            {"seconds_per_byte", choice_->link.beta},
                            {"largest_speedup", choice_->largest_speedup}};
    }
    return value;
  }

  const Arguments& arguments_;
  const Session& session_;
  TrainingSettings settings_;
  std::unique_ptr<TrainingTask> task_;
  std::string exchange_text_;
  std::vector<ExchangeCandidate> candidates_;
  bool keeps_steps_ = false, elastic_ = false;
  NamedSettings named_;
  std::optional<AutomaticChoice> choice_;
  mutable std::optional<TrainingLog> log_;
  std::vector<StepRecord> steps_;
  TrainingResult result_;
};

// That go with --transport.
std::vector<OptionSpec> elastic_options() {
  using Kind = OptionSpec::Kind;
  std::vector<OptionSpec> options = {
      {"--least-members", Kind::integer, "with --transport: members before the first step", false, "1"},
      {"--bind", Kind::text, "with --transport: address where other members reach this one"},
      {"--pool", Kind::integer, "with --transport: connections to each member", false, "1"},
  };
  for (OptionSpec& option : link_options()) {
    option.help = "with --transport: " + option.help;
    options.push_back(std::move(option));
  }
  return options;
}

}  // namespace

int train_task(const Arguments& arguments, const Session& session) {
  const std::string exchange = arguments.text("exchange", "auto");
  const auto& methods = method_registry();
  const bool federated = std::any_of(methods.begin(), methods.end(), [&](const MethodDescription& method) {
    return method.slug == exchange && method.federated;
  });
  if (federated) return train_federated(arguments, session);
  for (const OptionSpec& option : federated_options()) {
    const std::string name = option.name.substr(2);
    if (arguments.has(name)) {
      fail(ErrorKind::usage, "goes with a method of clients and rounds, and \"" + exchange + "\" is not one",
           option.name,
           "name one: scallion, scafcom, scaffold, fedavg, fedzip; or use --workers and --steps");
    }
  }
  const std::string launcher = arguments.text("launcher", "threads");
  if (launcher != "threads" && launcher != "mpi")
    fail(ErrorKind::usage, "\"" + launcher + "\" is not a launcher", "--launcher", "threads or mpi");
  const auto workers = static_cast<int>(arguments.integer("workers", 2, 1, 1024));
  const bool over_mpi = started_by_mpi();
  // Mistakes are found before any rank is started.
  if (!over_mpi && launcher == "mpi") {
    [[maybe_unused]] const TrainingRun checked(arguments, session);
    become_mpirun(workers);
  }
  TrainingRun run(arguments, session);
  if (arguments.has("transport")) {
    if (over_mpi || launcher != "threads" || arguments.has("workers"))
      fail(ErrorKind::usage, "every member is a command of its own", "--transport",
           "leave --workers and --launcher out, and start the command once for each member");
    PeerOptions options;
    options.masters = parse_masters(arguments.text("transport"));
    options.link = link_settings(arguments);
    options.listen = arguments.text("bind");
    options.pool_size = static_cast<int>(arguments.integer("pool", 1, 1, 64));
    options.message = print_notice;
    run.run_member(std::move(options), static_cast<int>(arguments.integer("least-members", 1, 1, 1024)));
    run.show();
    return 0;
  }
  for (const OptionSpec& option : elastic_options()) {
    const std::string name = option.name.substr(2);
    if (arguments.has(name)) fail(ErrorKind::usage, "goes with --transport", option.name);
  }
  if (!over_mpi) {
    run_training_ranks(workers, [&](CommunicationThread& thread) { run.run_rank(thread); });
    run.show();
    return 0;
  }
  CommunicationThread thread(open_mpi_communicator);
  if (arguments.has("workers") && workers != thread.size() && thread.rank() == 0) {
    print_notice(fmt::format("MPI started {} ranks: --workers {} is not used", thread.size(), workers));
  }
  run.run_rank(thread);
  if (thread.rank() == 0) run.show();
  return 0;
}

std::vector<OptionSpec> task_options() {
  std::vector<OptionSpec> options = training_options();
  options.push_back({"--transport", OptionSpec::Kind::text,
                     "train as one member of a run that others join and leave: tcp://MASTER[,STANDBY..]"});
  for (OptionSpec& option : elastic_options()) options.push_back(std::move(option));
  for (OptionSpec& option : federated_options()) options.push_back(std::move(option));
  return options;
}

}  // namespace laconic::cli
