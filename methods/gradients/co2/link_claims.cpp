#include "methods/gradients/co2/link_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/child_process.h"
#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/transport/limited_network.h"
#include "engine/transport/mpi_plugin.h"
#include "engine/transport/round_model.h"
#include "methods/arm_numbers.h"
#include "methods/gradients/small_tasks.h"

namespace laconic::co2 {
namespace {

using Scale = ReproduceRequest::Scale;
using Words = std::vector<std::string>;

constexpr int link_version = 1;
constexpr int ranks_of_card = 4;
constexpr int repeats = 3;

// How ranks are started: over the loopback of their network, never through shared memory.
const Words over_loopback = {"env", "OMPI_MCA_btl=tcp,self", "OMPI_MCA_btl_tcp_if_include=lo",
                             "OMPI_MCA_oob_tcp_if_include=lo", "OMPI_MCA_mpi_yield_when_idle=1"};

class LinkRuns {
 public:
  LinkRuns(const ReproduceRequest& request, ArmCache& cache) : request_(request), cache_(cache) {}

  // Seconds of a step and of waiting, and bytes; of `repeats` runs the one whose step is in the middle.
  // `megabits`: each rank's share of the bucket.
  ArmNumbers run(const std::string& name, const Words& exchange, int ranks, double megabits,
                 std::int64_t batch, std::int64_t steps) {
    Words words = {request_.program.string(), "train", "tinyshakespeare", "--model", "lm"};
    for (const auto& [option, value] : small_text_options(0)) {
      words.push_back("--option");
      words.push_back(fmt::format("{}={:g}", option, value));
    }
    for (const std::string& word : Words{"--data",
                                         request_.data.string(),
                                         "--optimizer",
                                         "adam",
                                         "--lr",
                                         "0.002",
                                         "--batch",
                                         std::to_string(batch),
                                         "--steps",
                                         std::to_string(steps),
                                         "--evaluate-every",
                                         "0",
                                         "--evaluate-limit",
                                         "1",
                                         "--seed",
                                         std::to_string(request_.seed),
                                         "--launcher",
                                         "mpi",
                                         "--workers",
                                         std::to_string(ranks),
                                         "--json",
                                         "--exchange"})
      words.push_back(word);
    words.insert(words.end(), exchange.begin(), exchange.end());
    std::string key = fmt::format("co2 link {} repeats {} megabits {:g}", link_version, repeats, megabits);
    for (std::size_t i = 1; i < words.size(); ++i) {  // not where the program lies
      if (words[i - 1] != "--data") key += " " + words[i];
    }
    return cache_.arm(fmt::format("{}, {} ranks of {:g} Mbit/s", name, ranks, megabits), key, [&] {
      std::vector<ArmNumbers> runs;
      in_limited_network(1e6 * megabits * ranks, [&](LimitedNetwork&) {
        for (int i = 0; i < repeats; ++i) runs.push_back(one(words, steps));
      });
      std::sort(runs.begin(), runs.end(), [](const ArmNumbers& a, const ArmNumbers& b) {
        return number(a, "step") < number(b, "step");
      });
      return runs[runs.size() / 2];
    });
  }

 private:
  static ArmNumbers one(const Words& words, std::int64_t steps) {
    Words all = over_loopback;
    all.insert(all.end(), words.begin(), words.end());
    const nlohmann::json result = parse_json(output_of(all), "what laconic train printed");
    const nlohmann::json& seconds = result.at("seconds");
    const auto count = static_cast<double>(steps);
    ArmNumbers numbers = {{"step", seconds.at("steps").get<double>() / count},
                          {"wait", seconds.at("wait").get<double>() / count},
                          {"compute", seconds.at("compute").get<double>() / count},
                          {"bytes", result.at("bytes_up").get<double>()}};
    if (result.contains("rounds")) {
      numbers["rounds"] = result.at("rounds").get<double>();
      numbers["round wait"] = seconds.at("wait").get<double>() / numbers["rounds"];
    }
    return numbers;
  }

  const ReproduceRequest& request_;
  ArmCache& cache_;
};

struct Timed {
  std::string name;
  Words exchange;
  std::int64_t tau = 0;
};

std::string link_fault(const ReproduceRequest& request) {
  if (request.data.empty()) return "there is no text to train on without a data directory";
  if (request.program.empty()) return "the command laconic is not there to start ranks with";
  if (std::string fault = limited_network_fault(); !fault.empty()) return fault;
  return {};
}

// Ranks without communication: one mean at the end, whose wait is left out.
double silent_step(LinkRuns& runs, int ranks, double megabits, std::int64_t batch, std::int64_t steps) {
  const ArmNumbers silent =
      runs.run(fmt::format("no communication, batch {}", batch),
               {"local-sgd", "-p", fmt::format("tau={}", steps)}, ranks, megabits, batch, steps);
  return number(silent, "step") - number(silent, "wait");
}

}  // namespace

std::optional<LinkTimes> link_claims(const ReproduceRequest& request, ArmCache& cache, Reproduction& result) {
  if (request.scale == Scale::quick) {
    result.notes.push_back("not measured when quick: time over limited links");
    return std::nullopt;
  }
  if (const std::string fault = link_fault(request); !fault.empty()) {
    result.notes.push_back("not measured: time over limited links: " + fault);
    return std::nullopt;
  }
  LinkRuns runs(request, cache);
  constexpr std::int64_t batch = 16, steps = 240, dense_steps = 48;
  const std::vector<Timed> methods = {
      {"local-sgd, tau 12", {"local-sgd", "-p", "tau=12"}, 12},
      {"co2, tau 12", {"co2", "-p", "tau=12"}, 12},
      {"co2, tau 12, sharded", {"co2", "-p", "tau=12", "-p", "sharded=true"}, 12},
      {"co2, tau 48", {"co2", "-p", "tau=48"}, 48},
      {"co2, tau found", {"co2", "-p", "tau=0"}, 0}};
  std::optional<LinkTimes> times;
  ReproductionTable table{
      fmt::format(
          "4 ranks over MPI on this machine, each with its share of one loopback; language model of 0.12 "
          "M parameters, batches of {} windows of 64; medians of {} runs",
          batch, repeats),
      {{"Mbit/s a rank", "method", "ms a step", "of no communication", "waiting", "waited a round, ms",
        "model says, ms"}}};
  try {
    std::vector<double> rates = {50, 100};
    if (request.scale == Scale::full) rates.push_back(200);
    for (const double megabits : rates) {
      const double silent = silent_step(runs, ranks_of_card, megabits, batch, steps);
      const auto add_row = [&](const std::string& name, const ArmNumbers& numbers,
                               const std::string& predicted) {
        table.rows.push_back(
            {fmt::format("{:g}", megabits), name, fmt::format("{:.2f}", 1e3 * number(numbers, "step")),
             fmt::format("{:.1f} %", 100 * silent / number(numbers, "step")),
             fmt::format("{:.1f} %", 100 * number(numbers, "wait") / number(numbers, "step")),
             numbers.count("round wait") ? fmt::format("{:.1f}", 1e3 * number(numbers, "round wait"))
                                         : std::string("-"),
             predicted});
      };
      const ArmNumbers dense =
          runs.run("gradients in every step", {"dense"}, ranks_of_card, megabits, batch, dense_steps);
      add_row("gradients in every step", dense, "-");
      double reduction = 0;
      for (const Timed& method : methods) {
        const ArmNumbers numbers =
            runs.run(method.name, method.exchange, ranks_of_card, megabits, batch, steps);
        std::string predicted = "-";
        if (method.exchange.front() == "local-sgd") reduction = number(numbers, "round wait");
        if (method.tau > 0 && method.exchange.front() == "co2") {
          RoundModel model;
          model.workers = ranks_of_card;
          model.rounds = steps / method.tau;
          model.tau = method.tau;
          model.step_seconds = [silent](int, std::int64_t) { return silent; };
          model.reduce_seconds = [reduction](std::int64_t) { return reduction; };
          predicted = fmt::format("{:.1f}", 1e3 * simulate_rounds(model).per_round);
        }
        add_row(method.name, numbers, predicted);
        if (megabits == 100 && method.name == "co2, tau 12") {
          const double share = silent / number(numbers, "step"), dense_share = silent / number(dense, "step");
          const double waiting = number(numbers, "wait") / number(numbers, "step");
          Claim claim;
          claim.claim =
              "throughput of 4 ranks at 100 Mbit/s each, tau 12, against the same ranks without "
              "communication";
          claim.paper = "304,736 tokens/s, scaling ratio 1.06, where AdamW has 22,810 and 0.82";
          claim.baseline_name = "gradients in every step: share of the throughput without communication";
          claim.baseline_value = dense_share;
          claim.measured_value = share;
          claim.measured_bytes = static_cast<std::uint64_t>(number(numbers, "bytes"));
          claim.threshold = "at least 0.95, where the baseline is below 0.5";
          claim.met = share >= 0.95 && dense_share < 0.5;
          claim.note = fmt::format(
              "{:.2f} ms a step without communication, under the same oversubscription (4 ranks on this "
              "machine's "
              "cores), {:.2f} ms with co2, {:.2f} ms with gradients in every step; one token bucket of 400 "
              "Mbit/s for "
              "all four",
              1e3 * silent, 1e3 * number(numbers, "step"), 1e3 * number(dense, "step"));
          result.claims.push_back(claim);
          claim.claim = "exposed waiting of 4 ranks at 100 Mbit/s each, tau 12, as a share of time";
          claim.baseline_name = "gradients in every step: waiting";
          claim.baseline_value = number(dense, "wait") / number(dense, "step");
          claim.measured_value = waiting;
          claim.threshold =
              "below 0.03, where gradients in every step reach less than half of the throughput";
          claim.met = waiting < 0.03 && dense_share < 0.5;
          result.claims.push_back(claim);
        }
      }
      if (megabits == 100)
        times = LinkTimes{megabits, silent_step(runs, ranks_of_card, megabits, 4, steps), reduction};
    }
    result.tables.push_back(std::move(table));

    ReproductionTable transition{"from 1 to 2 workers at 100 Mbit/s each: windows a second",
                                 {{"method", "1 worker", "2 workers", "ratio"}}};
    const double one = static_cast<double>(batch) / silent_step(runs, 1, 100, batch, steps);
    for (const Timed& method : {Timed{"gradients in every step", {"dense"}}, methods[0], methods[1]}) {
      const std::int64_t length = method.exchange.front() == "dense" ? dense_steps : steps;
      const double two = 2.0 * static_cast<double>(batch) /
                         number(runs.run(method.name, method.exchange, 2, 100, batch, length), "step");
      transition.rows.push_back({method.name, fmt::format("{:.1f}", one), fmt::format("{:.1f}", two),
                                 fmt::format("{:.2f}", two / one)});
    }
    result.tables.push_back(std::move(transition));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    result.notes.push_back(std::string("time over limited links was measured in part: ") + error.what());
  }
  return times;
}

}  // namespace laconic::co2
