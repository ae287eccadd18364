#include "methods/gradients/pccl/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"
#include "engine/transport/limited_hosts.h"
#include "engine/transport/tcp/churn.h"
#include "engine/transport/tcp/churn_member.h"
#include "methods/arm_numbers.h"
#include "methods/gradients/pccl/measurements.h"
#include "methods/gradients/pccl/unreliable_training.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/training_trial.h"
#include "runtime/corpus/stories.h"

namespace laconic::pccl {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed

constexpr int version = 2;
constexpr int members = 4;

class ReproducingPccl {
 public:
  explicit ReproducingPccl(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm), seeds_(training_seeds(request)) {
    result_.slug = "pccl";
    result_.seed = request.seed;
  }

  Reproduction run() {
    limited_hosts();
    churn();
    training();
    quantisation();
    aborts();
    result_.arms = cache_.records();
    result_.notes.push_back(
        "Gloo's and Open MPI's rings are not measured here: bench/network/ring runs them in the same hosts.");
    return std::move(result_);
  }

 private:
  bool quick() const { return request_.scale == Scale::quick; }
  bool full() const { return request_.scale == Scale::full; }
  std::string key(std::string_view what) const {
    return fmt::format("pccl {} {}\nseed {}", version, what, request_.seed);
  }
  void skipped(std::string_view what, std::string_view why) {
    result_.notes.push_back(fmt::format("skipped: {}: {}", what, why));
  }

  // ---- (1) pools of connections, (4) order of the ring
  void limited_hosts() {
    if (const std::string fault = limited_hosts_fault(); !fault.empty()) {
      skipped("pools of capped connections and the order of the ring", fault);
      return;
    }
    pools();
    ring_order();
  }

  void pools() {
    PoolTrial trial;
    trial.numbers = quick() ? 250'000 : 1'000'000;
    trial.rounds = quick() ? 1 : 3;
    ReproductionTable table{
        fmt::format("{} all-reduces of {} MB at once, {} hosts of {:g} Mbit/s, connections of {:g} Mbit/s",
                    trial.operations, 4e-6 * static_cast<double>(trial.numbers), trial.peers,
                    1e-6 * trial.host_rate, 1e-6 * trial.connection_rate),
        {{"connections to each neighbour", "seconds", "Mbit/s through each host's link"}}};
    double one = 0, eight = 0, sent = 0;
    bool same = true;
    for (const int pool : quick() ? std::vector<int>{1, 8} : std::vector<int>{1, 2, 4, 8, 16}) {
      trial.pool = pool;
      const ArmNumbers numbers =
          cache_.arm(fmt::format("pool of {}", pool),
                     key(fmt::format("pool {} {} {} {} {:g} {:g}", pool, trial.numbers, trial.operations,
                                     trial.rounds, trial.connection_rate, trial.host_rate)),
                     [&] {
                       const PoolResult measured = measure_pool(trial);
                       return ArmNumbers{{"seconds", measured.seconds},
                                         {"bytes", measured.sent_bytes},
                                         {"same", measured.same_bits ? 1 : 0}};
                     });
      const double seconds = number(numbers, "seconds");
      same = same && number(numbers, "same") == 1;
      sent = number(numbers, "bytes");
      if (pool == 1) one = seconds;
      if (pool == 8) eight = seconds;
      table.rows.push_back({std::to_string(pool), fmt::format("{:.2f}", seconds),
                            fmt::format("{:.1f}", 8e-6 * sent / seconds)});
    }
    result_.tables.push_back(std::move(table));
    result_.judge(
        "throughput of 8 pooled connections over one, each capped", "pools raise capped flows to 45 Gbit/s",
        "one connection", 1, one / eight, "at least 5", one / eight >= 5 && same,
        fmt::format("{:.2f} s and {:.2f} s for {:g} MB in {} operations; caps by SO_MAX_PACING_RATE{}", one,
                    eight, 4e-6 * static_cast<double>(trial.numbers) * trial.operations, trial.operations,
                    same ? "" : "; sums were wrong"));
  }

  void ring_order() {
    RingOrderTrial trial;
    trial.numbers = quick() ? 1'000'000 : 8'000'000;
    trial.rounds = quick() ? 1 : 3;
    const ArmNumbers numbers = cache_.arm("ring order",
                                          key(fmt::format("ring order {} {} {:g} {:g}", trial.numbers,
                                                          trial.rounds, trial.host_rate, trial.slow_rate)),
                                          [&] {
                                            const RingOrderResult measured = measure_ring_order(trial);
                                            return ArmNumbers{{"before", measured.before},
                                                              {"after", measured.after},
                                                              {"ordering", measured.ordering},
                                                              {"avoids", measured.avoids_slow ? 1 : 0}};
                                          });
    const double before = number(numbers, "before"), after = number(numbers, "after");
    result_.judge(
        "ring of 4 hosts with links of 400, 400, 50 and 400 Mbit/s: speed-up by measured order",
        "order by measured bandwidth", "shuffled ring", 1, before / after, "at least 1.8",
        before / after >= 1.8,
        fmt::format("{:.2f} s and {:.2f} s for {:g} MB of f32; measuring and ordering took {:.1f} s; the new "
                    "ring {} the slow pair, which has a link of its own beside those of its hosts",
                    before, after, 4e-6 * static_cast<double>(trial.numbers), number(numbers, "ordering"),
                    number(numbers, "avoids") == 1 ? "avoids" : "keeps"));
  }

  // ---- (2)
  void churn() {
    if (request_.program.empty()) {
      skipped("churn", "the command laconic is not there to start peers with");
      return;
    }
    ChurnPlan plan;
    plan.seconds = quick() ? 8 : full() ? 600 : 60;
    if (quick()) {  // as many events as half a minute has
      plan.shortest_pause = 0.15;
      plan.longest_pause = 0.6;
    }
    ReproductionTable table{
        fmt::format(
            "{:g} s of churn: every {:g} to {:g} s a process is spawned (0.6) or killed (0.4), up to {}",
            plan.seconds, plan.shortest_pause, plan.longest_pause, plan.most),
        {{"steps", "spawned", "killed", "steps", "largest group", "aborted operations", "longest silence, s",
          "slowest recovery, s"}}};
    for (const ChurnForm form : {ChurnForm::synchronous, ChurnForm::delayed, ChurnForm::overlapping}) {
      if (form == ChurnForm::overlapping && !full()) continue;
      plan.seed = request_.seed + 1 + static_cast<std::uint64_t>(form);
      const std::string name(name_of(form));
      const ArmNumbers numbers =
          cache_.arm("churn, " + name + " steps",
                     key(fmt::format("churn {} {:g} {} {} {:g}", name, plan.seconds, plan.most, plan.seed,
                                     plan.longest_pause)),
                     [&] {
                       const ChurnReport report = measure_churn(
                           plan,
                           [&](std::uint16_t master, const std::filesystem::path& log) {
                             return std::vector<std::string>{request_.program.string(),
                                                             "peer-bench",
                                                             fmt::format("tcp://127.0.0.1:{}", master),
                                                             "--pool",
                                                             "2",
                                                             "--endless",
                                                             log.string(),
                                                             "--steps",
                                                             name};
                           },
                           request_.progress);
                       return ArmNumbers{{"spawned", static_cast<double>(report.spawned)},
                                         {"killed", static_cast<double>(report.killed)},
                                         {"ended", static_cast<double>(report.ended_by_themselves)},
                                         {"steps", static_cast<double>(report.steps)},
                                         {"lines", static_cast<double>(report.lines)},
                                         {"disagreements", static_cast<double>(report.disagreements)},
                                         {"lineages", static_cast<double>(report.lineages)},
                                         {"members", static_cast<double>(report.most_members)},
                                         {"hung", static_cast<double>(report.hung)},
                                         {"silence", report.longest_silence},
                                         {"recoveries", static_cast<double>(report.recoveries)},
                                         {"recovery", report.slowest_recovery},
                                         {"aborted", static_cast<double>(report.aborted_operations)}};
                     });
      const auto count = [&](const char* what) { return fmt::format("{:.0f}", number(numbers, what)); };
      table.rows.push_back({name, count("spawned"), count("killed"), count("steps"), count("members"),
                            count("aborted"), fmt::format("{:.2f}", number(numbers, "silence")),
                            fmt::format("{:.2f}", number(numbers, "recovery"))});
      const double faults = number(numbers, "disagreements") + number(numbers, "hung") +
                            number(numbers, "ended") + number(numbers, "lineages") - 1;
      const bool tried = number(numbers, "killed") >= 1 && number(numbers, "recoveries") >= 1;
      result_.judge(
          fmt::format("churn, {} steps, {:g} s: disagreements of hashes, hung or failed processes, lost "
                      "states",
                      name, plan.seconds),
          "8 h of churn, bit parity", "none", 0, faults, "0, with a step at least every 10 s",
          tried && faults == 0 && number(numbers, "silence") <= 10,
          fmt::format("{} spawned, {} killed, {} steps in {} lines, {} aborted operations; longest silence "
                      "{:.2f} s{}",
                      count("spawned"), count("killed"), count("steps"), count("lines"), count("aborted"),
                      number(numbers, "silence"), tried ? "" : "; nobody died while others lived on"));
      result_.judge(
          fmt::format("churn, {} steps: seconds from a death to a survivor's next but one step, the slowest",
                      name),
          "goes on", "limit", 2, number(numbers, "recovery"), "below 2",
          tried && number(numbers, "recovery") < 2,
          fmt::format("{} survivals of deaths", count("recoveries")));
    }
    result_.tables.push_back(std::move(table));
  }

  // ---- (3)
  struct Row {
    std::string name;
    Arms arms;
    double loss() const { return spread_of(arms, "loss").mean; }
    double perplexity() const { return std::exp(std::min(loss(), 700.0)); }
    double bytes() const { return spread_of(arms, "bytes").mean; }
  };

  SmallTask text() {
    std::map<std::string, double> options;
    if (quick())
      options = small_text_options(0);
    else if (!full())
      options = {{"context", 64}};
    if (!request_.data.empty()) return text_task(request_, options);
    // Without a data directory: stories that the project generates.
    constexpr std::uint64_t stories = 2000;
    stories_.emplace("stories");
    const std::filesystem::path file = stories_->path() / "stories.txt";
    write_file(file, std::string_view(make_training_stories(0, stories)));
    TaskRequest wish;
    wish.dataset = file.string();
    wish.model = "lm";
    wish.options = std::move(options);
    try {
      return {make_training_task(wish), "generated stories lm", "no data directory: generated stories"};
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::usage) throw;
      return {nullptr, "", error.what()};
    }
  }

  TrainingSettings settings() const {
    TrainingSettings settings;
    settings.batch = full() ? 8 : 4;
    settings.steps = full() ? 4000 : quick() ? 96 : 800;
    settings.evaluate_every = settings.steps / 8;
    settings.evaluate_limit = quick() ? 64 : 256;
    settings.optimizer.kind = OptimizerSettings::Kind::adam;
    settings.optimizer.beta2 = 0.98;
    settings.clip = 1;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.rate = quick() ? 4e-3 : 2e-3;
    settings.rate.warmup = settings.steps / 20;
    settings.rate.steps = settings.steps;
    return settings;
  }
  std::int64_t tau() const { return quick() ? 12 : 50; }

  ArmNumbers unreliable(const TrainingTask& task, const std::string& name, std::uint64_t seed,
                        const UnreliablePlan& plan) {
    TrainingSettings settings = this->settings();
    const ExchangeCandidate candidate =
        exchange_by_name("diloco over pccl", {{"tau", std::to_string(tau())}});
    use_exchange(settings, candidate);
    settings.seed = seed;
    const std::string full_name = fmt::format("{}, seed {}", name, seed);
    const std::string what = fmt::format(
        "pccl {} unreliable\n{}\n{}\nsteps {} evaluation {} {}\nmembers {} dies {} joins {} tcp {}", version,
        elastic_settings_text(task, settings), candidate.key, settings.steps, settings.evaluate_every,
        settings.evaluate_limit, plan.members, plan.dies_at, plan.joins_at, plan.over_tcp);
    return cache_.arm(full_name, what, [&] {
      ProgressListener progress;
      if (request_.progress) {
        progress = [&](ProgressReport report) {
          report.activity = full_name + ": " + report.activity;
          request_.progress(report);
        };
      }
      const UnreliableResult outcome = train_unreliably(task, settings, plan, progress);
      const TrainingResult& result = outcome.result;
      require(!result.evaluations.empty() && result.evaluations.back().held_out.count > 0,
              "whoever comes to the end knows the last evaluation");
      const bool planned = outcome.died == (plan.dies_at > 0) && outcome.joined == (plan.joins_at > 0);
      return ArmNumbers{{"loss", result.evaluations.back().held_out.loss},
                        {"bytes", static_cast<double>(result.sent_bytes)},
                        {"state", static_cast<double>(result.state_bytes)},
                        {"rounds", static_cast<double>(result.rounds)},
                        {"groups", static_cast<double>(result.groups)},
                        {"planned", planned ? 1 : 0},
                        {"same", outcome.same_bits ? 1 : 0}};
    });
  }

  void training() {
    const SmallTask small = text();
    if (!small.task) {
      skipped("DiLoCo on text", small.note);
      return;
    }
    if (!small.note.empty()) result_.notes.push_back(small.note);
    const TrainingTask& task = *small.task;
    TrainingTrial trial(request_, cache_, task, members, settings());
    const std::vector<std::pair<std::string, std::string>> rounds = {{"tau", std::to_string(tau())}};
    const Row whole{"f32", trial.run({"diloco, f32", "diloco", rounds}, seeds_)};
    const Row coded{"u8 by the ring", trial.run({"diloco, u8", "diloco over pccl", rounds}, seeds_)};

    // In the middle of a round and of the run.
    const std::int64_t half = settings().steps / 2 + tau() / 2, later = half + tau();
    Row killed{"u8, one of 4 dies", {}}, replaced{"u8, one of 4 dies and one joins", {}};
    for (const std::uint64_t seed : seeds_) {
      killed.arms.push_back(unreliable(task, "diloco, u8, a death", seed, {members, half, 0, false}));
      replaced.arms.push_back(
          unreliable(task, "diloco, u8, a death and a newcomer", seed, {members, half, later, false}));
    }
    const Row over_tcp{"u8 over TCP, one of 4 dies and one joins, first seed",
                       {unreliable(task, "diloco, u8, over TCP, a death and a newcomer", seeds_.front(),
                                   {members, half, later, true})}};

    const std::string place = fmt::format("{}, DiLoCo with {} steps a round", small.name, tau());
    const std::string how =
        fmt::format("{} parameters, {} members, {} steps of {} windows each, seeds {} to {}",
                    layout_size(task.parameters()), members, settings().steps, settings().batch,
                    seeds_.front(), seeds_.back());
    const double ratio = coded.perplexity() / whole.perplexity(), share = coded.bytes() / whole.bytes();
    Claim& eight = result_.judge(place + ": perplexity with u8 messages", "quantised all-reduce for DiLoCo",
                                 "f32", whole.perplexity(), coded.perplexity(),
                                 "within 1.5 % of f32 at no more than 0.27 of its bytes",
                                 std::abs(ratio - 1) <= 0.015 && share <= 0.27,
                                 fmt::format("{}; {:.4f} times at {:.4f} of the bytes", how, ratio, share));
    eight.baseline_bytes = static_cast<std::uint64_t>(whole.bytes());
    eight.measured_bytes = static_cast<std::uint64_t>(coded.bytes());

    bool same = true;
    const auto disturbed = [&](const Row& row, const Arms& undisturbed, const std::string& what,
                               const std::string& threshold, bool both_ways) {
      const Row base{"undisturbed", undisturbed};
      const double times = row.perplexity() / base.perplexity();
      const bool planned = std::all_of(row.arms.begin(), row.arms.end(),
                                       [](const ArmNumbers& arm) { return number(arm, "planned") == 1; });
      for (const ArmNumbers& arm : row.arms) same = same && number(arm, "same") == 1;
      result_.judge(
          fmt::format("{}: perplexity when {}", place, what), "training goes on", base.name,
          base.perplexity(), row.perplexity(), threshold,
          planned && (both_ways ? std::abs(times - 1) <= 0.02 : times < 1.02),
          fmt::format("{:.4f} times; {} seed{}; dies in step {}{}{}", times, row.arms.size(),
                      row.arms.size() == 1 ? "" : "s", half,
                      both_ways ? fmt::format(", the other comes after step {}", later) : std::string(),
                      planned ? "" : "; it did not go as planned"));
    };
    disturbed(killed, coded.arms, "one of 4 dies half way", "less than 2 % above undisturbed", false);
    disturbed(replaced, coded.arms, "one of 4 dies half way and one joins", "within 2 % of undisturbed",
              true);
    disturbed(over_tcp, {coded.arms.front()}, "one of 4 dies half way and one joins, over TCP",
              "within 2 % of undisturbed", true);
    result_.judge(place + ": all who come to the end hold the same bits", "bit parity under churn", "runs", 1,
                  same ? 1 : 0, "in every run", same);

    ReproductionTable table{place + ", " + how,
                            {{"run", "perplexity", "held-out loss", "bytes a member sent"}}};
    for (const Row* row : std::initializer_list<const Row*>{&whole, &coded, &killed, &replaced, &over_tcp}) {
      table.rows.push_back({row->name, fmt::format("{:.4f}", row->perplexity()),
                            spread_text(spread_of(row->arms, "loss"), row->arms.size(), 4),
                            fmt::format("{:.0f}", row->bytes())});
    }
    result_.tables.push_back(std::move(table));
  }

  // ---- ablations
  void quantisation() {
    const std::vector<float> example = {-1, -0.5f, 0, 0.25f, 1};
    ReproductionTable table{
        "u8 by the least and greatest number",
        {{"rounding", "codes of (-1, -0.5, 0, 0.25, 1)", "mean error", "bias of uniform numbers, steps"}}};
    double worked = 0, nearest = 0, truncated = 0;
    std::string codes_nearest, codes_truncated;
    for (const auto& [name, rounding] :
         {std::pair{"nearest", WireRounding::nearest_even}, std::pair{"stochastic", WireRounding::stochastic},
          std::pair{"truncated", WireRounding::truncate}}) {
      const RoundingResult result = round_block(example, rounding);
      std::string codes;
      for (const int code : result.codes) codes += fmt::format("{}{}", codes.empty() ? "" : " ", code);
      const double bias = rounding_bias(rounding, request_.seed);
      if (rounding == WireRounding::nearest_even) {
        codes_nearest = codes;
        nearest = bias;
      }
      if (rounding == WireRounding::truncate) {
        codes_truncated = codes;
        truncated = bias;
        worked = result.mean_error;
      }
      table.rows.push_back(
          {name, codes, fmt::format("{:.5f}", result.mean_error), fmt::format("{:.4f}", bias)});
    }
    result_.tables.push_back(std::move(table));
    result_.judge("u8 of (-1, -0.5, 0, 0.25, 1): mean error when truncated", "truncates", "worked example",
                  -0.00255, worked, "-0.00255; codes 0 63 127 159 255, and 0 64 128 159 255 when rounded",
                  std::abs(worked + 0.00255) < 5e-6 && codes_truncated == "0 63 127 159 255" &&
                      codes_nearest == "0 64 128 159 255",
                  fmt::format("{}; {}", codes_truncated, codes_nearest));
    result_.judge("u8 of uniform numbers: bias of rounding, in steps of the grid", "truncates", "truncated",
                  truncated, nearest, "none, where truncation has -0.5",
                  std::abs(nearest) < 0.01 && std::abs(truncated + 0.5) < 0.01,
                  "within 0.01 steps; 262,144 numbers");
    routes();
  }

  void routes() {
    const std::size_t numbers = quick() ? 65'536 : 1'048'576;
    ReproductionTable table{fmt::format("u8 mean of {} Gaussian numbers a peer, over TCP", numbers),
                            {{"peers", "route", "relative error", "bytes a peer"}}};
    bool same = true, better = true;
    double ring_of_four = 0, direct_of_four = 0;
    std::string note;
    for (const int peers : {2, 4, 8}) {
      double error[2] = {}, bytes[2] = {};
      for (const AllReduceAlgorithm route : {AllReduceAlgorithm::ring, AllReduceAlgorithm::direct}) {
        const std::string name = route == AllReduceAlgorithm::ring ? "ring" : "direct";
        const ArmNumbers measured = cache_.arm(
            fmt::format("u8 {}, {} peers", name, peers),
            key(fmt::format("route {} {} {} 8", name, peers, numbers)), [&] {
              const RouteError result = measure_route_error(route, peers, numbers, 8, request_.seed);
              return ArmNumbers{
                  {"error", result.error}, {"bytes", result.sent_bytes}, {"same", result.same_bits ? 1 : 0}};
            });
        const auto place = static_cast<std::size_t>(route);
        error[place] = number(measured, "error");
        bytes[place] = number(measured, "bytes");
        same = same && number(measured, "same") == 1;
        table.rows.push_back({std::to_string(peers), name, fmt::format("{:.6f}", error[place]),
                              fmt::format("{:.0f}", bytes[place])});
      }
      if (peers == 4) {
        ring_of_four = error[0];
        direct_of_four = error[1];
      }
      if (peers > 2) better = better && error[1] < error[0];
      better = better && std::abs(bytes[1] / bytes[0] - 1) < 0.01;
      note += fmt::format("{}{} peers {:.3f}", note.empty() ? "direct over ring: " : ", ", peers,
                          error[1] / error[0]);
    }
    result_.tables.push_back(std::move(table));
    result_.judge(
        "u8 mean of 4 peers: relative error of the direct exchange against the ring's at equal bytes", "ring",
        "ring", ring_of_four, direct_of_four, "smaller with more than 2 peers; bytes within 1 %", better,
        note);
    result_.judge("quantised means have the same bits at all peers", "bit parity", "runs", 1, same ? 1 : 0,
                  "in every run", same);
  }

  void aborts() {
    constexpr int peers = 6;
    const double limit = quick() ? 3 : 10;
    ReproductionTable table{
        fmt::format("ring of {} peers on loopback, one of which is lost in the middle of an all-reduce",
                    peers),
        {{"how others hear of it", "seconds until the last operation has ended", "still blocked"}}};
    const auto arm = [&](AbortForm form, const std::string& name) {
      const ArmNumbers numbers = cache_.arm(
          "abort: " + name, key(fmt::format("abort {} {} {:g}", static_cast<int>(form), peers, limit)), [&] {
            const AbortResult result = measure_abort(form, peers, limit);
            return ArmNumbers{{"seconds", result.seconds}, {"blocked", static_cast<double>(result.blocked)}};
          });
      const double blocked = number(numbers, "blocked");
      table.rows.push_back(
          {name,
           blocked > 0 ? fmt::format("above {:g}", limit) : fmt::format("{:.3f}", number(numbers, "seconds")),
           fmt::format("{:.0f} of {}", blocked, peers - 1)});
      return numbers;
    };
    const ArmNumbers whole = arm(AbortForm::whole_protocol, "the master tells all, and the ring is rewired");
    arm(AbortForm::told, "whoever notices tells all");
    arm(AbortForm::closing, "nobody tells; whoever notices closes its connections");
    const ArmNumbers nothing = arm(AbortForm::nothing, "nobody tells, connections stay open");
    result_.tables.push_back(std::move(table));
    result_.judge(
        "a peer is lost: seconds until all survivors have returned from the operation and have a ring",
        "abort is told to all", fmt::format("without telling, within {:g} s: still blocked", limit),
        number(nothing, "blocked"), number(whole, "seconds"), "below 2",
        number(whole, "seconds") < 2 && number(whole, "blocked") == 0, fmt::format("{} peers", peers));
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  std::optional<ScratchFolder> stories_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) { return ReproducingPccl(request).run(); }

}  // namespace laconic::pccl
