#include "methods/gradients/federated/controlled_averaging_reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "methods/gradients/federated/federated_trial.h"
#include "methods/gradients/federated/quadratic_clients.h"
#include "methods/gradients/training/training_trial.h"
#include "methods/gradients/training/worker_examples.h"
#include "methods/method.h"

namespace laconic {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed

constexpr const char* top5 = "outliers(fraction=0.05,dtype=f32)";
constexpr const char* top1 = "outliers(fraction=0.01,dtype=f32)";
constexpr const char* one_level = "qsgd(bits=2)";
constexpr const char* seven_levels = "qsgd(bits=4)";

double mean_number(const Arms& arms, const std::string& name) { return spread_of(arms, name).mean; }

std::uint64_t bytes_up(const Arms& arms) {
  return static_cast<std::uint64_t>(std::llround(mean_number(arms, "bytes_up")));
}

std::string gap_text(double gap) { return gap >= 1e29 ? "diverged" : fmt::format("{:.2g}", gap); }

std::string per_seed(const Arms& arms, const std::string& name) {
  std::string text;
  for (const ArmNumbers& arm : arms) text += (text.empty() ? "" : " ") + gap_text(arm.at(name));
  return text;
}

std::vector<FederatedParameters> values_of(const std::string& name, const std::vector<std::string>& values) {
  std::vector<FederatedParameters> variants;
  for (const std::string& value : values) variants.push_back({{name, value}});
  return variants;
}

class ControlledReproduction {
 public:
  ControlledReproduction(const ReproduceRequest& request, const std::string& slug)
      : request_(request), scallion_(slug == "scallion"), cache_(request.cache, request.on_arm) {
    result_.slug = slug;
    result_.seed = request.seed;
    for (std::uint64_t i = 0; i < (request.scale == Scale::quick ? 1u : 3u); ++i)
      seeds_.push_back(request.seed + i);
  }

  Reproduction run() {
    same_as_scaffold();
    for (const double noise : {0.0, 0.5}) quadratics(noise);
    ablations();
    pictures();
    result_.notes.push_back(
        "quadratics: the problem is that of the first seed; seeds draw clients, samples and codec "
        "randomness");
    result_.notes.push_back(
        "points and control variates are f32: relative gaps below 1e-12 are the floor of that");
    result_.arms = cache_.records();
    return std::move(result_);
  }

 private:
  FederatedSettings quadratic_settings(const QuadraticClients& task, std::int64_t rounds) const {
    FederatedSettings settings;
    settings.examples_of = task.examples_of();
    settings.participants = 10;
    settings.rounds = rounds;
    settings.local_steps = 10;
    settings.batch = 1;
    settings.evaluate_every = std::max<std::int64_t>(1, rounds / 30);
    return settings;
  }
  std::int64_t quadratic_rounds() const { return request_.scale == Scale::quick ? 300 : 1500; }
  FederatedGrid grid() const {
    if (request_.scale == Scale::quick) return {{0.3, 0.1, 0.03}, {0.3, 1}, {{}}};
    return {{0.3, 0.1, 0.03, 0.01, 0.003}, {0.1, 0.3, 1, 3}, {{}}};
  }

  // Exact: one vector up in place of two, and the same trajectory.
  void same_as_scaffold() {
    const QuadraticClients task({50, 100, 0.5, request_.seed});
    FederatedSettings settings = quadratic_settings(task, 50);
    settings.local_rate = 0.1;
    settings.seed = request_.seed;
    const ArmNumbers numbers = cache_.arm(
        "the same trajectory as SCAFFOLD",
        fmt::format("federated same trajectory 1\n{}\n{} {}", task.text(),
                    settings_text("scaffold", Parameters(method_named("scaffold").parameters)),
                    request_.seed),
        [&] {
          const auto trained = [&](const std::string& slug, const FederatedParameters& parameters) {
            const MethodDescription& method = method_named(slug);
            settings.algorithm = method.federated;
            settings.parameters = Parameters(method.parameters);
            for (const auto& [name, value] : parameters) settings.parameters.set(name, value);
            return train_clients(task, settings);
          };
          const FederatedResult two = trained("scaffold", {});
          ArmNumbers all = {{"scaffold_bytes", static_cast<double>(two.bytes_up)}};
          for (const auto& [slug, parameter] :
               {std::pair("scallion", "alpha"), std::pair("scafcom", "beta")}) {
            const FederatedResult one = trained(slug, {{"codec", "none"}, {parameter, "1"}});
            double difference = 0, norm = 0;
            for (std::size_t j = 0; j < two.final_parameters.size(); ++j) {
              const double x = two.final_parameters[j], y = one.final_parameters[j];
              difference += (x - y) * (x - y);
              norm += x * x;
            }
            all[std::string(slug) + "_difference"] = std::sqrt(difference / norm);
            all[std::string(slug) + "_bytes"] = static_cast<double>(one.bytes_up);
          }
          return all;
        });
    const std::string& slug = result_.slug;
    Claim claim;
    claim.claim =
        "without compression, the trajectory of SCAFFOLD with half its uplink, 50 rounds of 10 of 50 "
        "clients";
    claim.paper = "identical trajectory, uplink halved (exact)";
    claim.baseline_name = "SCAFFOLD, two vectors";
    claim.baseline_value = 0;
    claim.baseline_bytes = static_cast<std::uint64_t>(numbers.at("scaffold_bytes"));
    claim.measured_value = numbers.at(slug + "_difference");
    claim.measured_bytes = static_cast<std::uint64_t>(numbers.at(slug + "_bytes"));
    const double ratio = numbers.at(slug + "_bytes") / numbers.at("scaffold_bytes");
    claim.threshold = "relative difference of x at most 1e-6 (f32), bytes within 2 % of half";
    claim.met = claim.measured_value <= 1e-6 && std::abs(ratio - 0.5) <= 0.01;
    claim.note =
        fmt::format("gradient noise 0.5; bytes {:.4f} of SCAFFOLD's, message headers included", ratio);
    result_.claims.push_back(std::move(claim));
  }

  struct Row {
    std::string name, card;
    Arms arms;
    std::string choice;
  };

  Row tuned_row(FederatedTrial& trial, const FederatedArm& arm, const FederatedGrid& choices,
                const std::string& card) {
    Row row{arm.name, card, trial.tuned(arm, choices, seeds_), {}};
    const ArmNumbers& first = row.arms.front();
    row.choice = fmt::format("{} x {}", first.at("local_rate"), first.at("server_rate"));
    for (const auto& [name, value] : choices.variants[static_cast<std::size_t>(first.at("variant"))])
      row.choice += fmt::format(", {} {}", name, value);
    return row;
  }

  void quadratics(double noise) {
    const QuadraticClients task({50, 100, noise, request_.seed});
    FederatedTrial trial(cache_, task, quadratic_settings(task, quadratic_rounds()));
    const bool exact = noise == 0;
    const std::string suffix = exact ? ", no noise" : ", noise 0.5";
    const FederatedParameters equal = {{"weights", "equal"}};
    const auto with = [](FederatedParameters parameters, const std::string& codec) {
      parameters.push_back({"codec", codec});
      return parameters;
    };
    const auto fed_ef = [&](const std::string& codec) {
      FederatedParameters parameters = with(equal, codec);
      parameters.push_back({"ef", "true"});
      return parameters;
    };
    const FederatedGrid plain = grid();
    FederatedGrid alphas = plain, betas = plain;
    const bool quick = request_.scale == Scale::quick;
    alphas.variants = values_of(
        "alpha", quick ? std::vector<std::string>{"0.1"} : std::vector<std::string>{"0.1", "0.3", "1"});
    betas.variants = values_of(
        "beta", quick ? std::vector<std::string>{"0.2"} : std::vector<std::string>{"0.05", "0.2", "1"});
    std::vector<Row> rows;
    rows.push_back(
        tuned_row(trial, {"FedAvg fp32" + suffix, "fedavg", equal}, plain, exact ? "1.6e-3" : "1.6e-3"));
    rows.push_back(
        tuned_row(trial, {"SCAFFOLD fp32" + suffix, "scaffold", {}}, plain, exact ? "8e-32" : "7.9e-5"));
    if (!scallion_) {
      rows.push_back(tuned_row(trial, {"FedAvg + Top-5%" + suffix, "fedavg", with(equal, top5)}, plain,
                               exact ? "3.1e-1" : "3.0e-1"));
      rows.push_back(tuned_row(trial, {"Fed-EF Top-5%" + suffix, "fedavg", fed_ef(top5)}, plain,
                               exact ? "2.4e-3" : "2.3e-3"));
      rows.push_back(tuned_row(trial, {"SCAFCOM Top-5%" + suffix, "scafcom", with({}, top5)}, betas,
                               exact ? "8e-31" : "2.6e-5"));
      compare(rows[4], rows[3], "SCAFCOM Top-5% against Fed-EF Top-5%" + suffix);
    } else {
      rows.push_back(tuned_row(trial, {"FedAvg + 1-level QSGD" + suffix, "fedavg", with(equal, one_level)},
                               plain, "1.3e-2"));
      rows.push_back(tuned_row(trial, {"SCALLION 1-level QSGD" + suffix, "scallion", with({}, one_level)},
                               alphas, exact ? "3e-14" : "3.3e-4"));
      rows.push_back(tuned_row(trial, {"SCALLION 7-level QSGD" + suffix, "scallion", with({}, seven_levels)},
                               alphas, exact ? "8e-32" : "3.3e-5"));
      compare(rows[3], rows[2], "SCALLION 1-level against FedAvg with 1-level QSGD" + suffix);
    }
    ReproductionTable table;
    table.title = fmt::format(
        "relative gap of quadratics after {} rounds{} (50 clients, 10 a round, 10 local "
        "steps, {} rates and parameters each)",
        quadratic_rounds(), suffix, plain.local_rates.size() * plain.server_rates.size());
    table.rows.push_back({"method", "gap", "per seed", "card", "bytes up", "rates"});
    for (const Row& row : rows) {
      table.rows.push_back({row.name, gap_text(mean_number(row.arms, "tail")), per_seed(row.arms, "tail"),
                            row.card, std::to_string(bytes_up(row.arms)), row.choice});
      ReproductionCurve curve;
      curve.chart = "quadratics" + suffix;
      curve.name = row.name;
      curve.x_label = "bytes up";
      curve.y_label = "relative gap";
      curve.points = curve_of(row.arms, "loss");
      result_.curves.push_back(std::move(curve));
    }
    result_.tables.push_back(std::move(table));
  }

  void compare(const Row& own, const Row& baseline, const std::string& what) {
    Claim claim;
    claim.claim = what + ": relative gap at equal uplink";
    claim.paper = fmt::format("converges where the baseline stalls; the card's script {} against {}",
                              own.card, baseline.card);
    claim.baseline_name = baseline.name;
    claim.baseline_value = mean_number(baseline.arms, "tail");
    claim.baseline_bytes = bytes_up(baseline.arms);
    claim.measured_value = mean_number(own.arms, "tail");
    claim.measured_bytes = bytes_up(own.arms);
    claim.threshold = "at most a tenth of the baseline's, at equal bytes (1 %)";
    bool every = true;
    for (std::size_t i = 0; i < own.arms.size(); ++i)
      every = every && own.arms[i].at("tail") < baseline.arms[i].at("tail");
    const double bytes =
        static_cast<double>(claim.measured_bytes) / static_cast<double>(claim.baseline_bytes);
    claim.met = claim.measured_value <= 0.1 * claim.baseline_value && every && std::abs(bytes - 1) <= 0.01;
    claim.note = fmt::format("{} seeds: {} against {}; bytes {:.4f} of the baseline's; rates {} against {}",
                             seeds_.size(), per_seed(own.arms, "tail"), per_seed(baseline.arms, "tail"),
                             bytes, own.choice, baseline.choice);
    result_.claims.push_back(std::move(claim));
  }

  // One seed; each tuned over the same rates.
  void ablations() {
    const QuadraticClients noisy({50, 100, 0.5, request_.seed}), exact({50, 100, 0, request_.seed});
    ReproductionTable table;
    table.title = "ablations on the quadratics (first seed)";
    table.rows.push_back({"arm", "gap", "rates"});
    const auto row = [&](const QuadraticClients& task, const FederatedArm& arm) {
      FederatedTrial trial(cache_, task, quadratic_settings(task, quadratic_rounds()));
      const Arms arms = trial.tuned(arm, grid(), {seeds_.front()});
      table.rows.push_back(
          {arm.name, gap_text(arms.front().at("tail")),
           fmt::format("{} x {}", arms.front().at("local_rate"), arms.front().at("server_rate"))});
    };
    if (scallion_) {
      for (const char* alpha : {"0.1", "1"}) {
        row(exact, {fmt::format("SCALLION 1-level, alpha {}, no noise", alpha),
                    "scallion",
                    {{"codec", one_level}, {"alpha", alpha}}});
      }
    } else {
      for (const char* beta : {"0.2", "1"}) {
        row(noisy, {fmt::format("SCAFCOM Top-1%, beta {}, noise 0.5", beta),
                    "scafcom",
                    {{"codec", top1}, {"beta", beta}}});
      }
      const auto one_client = [](FederatedSettings& settings) { settings.participants = 1; };
      row(exact, {"Fed-EF Top-5%, 1 of 50 clients a round, no noise",
                  "fedavg",
                  {{"codec", top5}, {"ef", "true"}, {"weights", "equal"}},
                  one_client});
      row(exact, {"SCAFCOM Top-5%, 1 of 50 clients a round, no noise",
                  "scafcom",
                  {{"codec", top5}, {"beta", "0.2"}},
                  one_client});
    }
    result_.tables.push_back(std::move(table));
  }

  // MNIST over 200 uneven clients, a tenth of them a round, by the library's perceptron.
  void pictures() {
    if (request_.data.empty()) {
      result_.notes.push_back("MNIST is left out: there is no data directory");
      return;
    }
    const bool quick = request_.scale == Scale::quick;
    TaskRequest wanted;
    wanted.dataset = "mnist";
    wanted.model = "mlp";
    wanted.data = request_.data;
    wanted.options = {{"width", request_.scale == Scale::full ? 128 : 64}};
    if (quick) wanted.options = {{"width", 64}, {"examples", 4000}, {"test-examples", 2000}};
    const std::unique_ptr<TrainingTask> task = make_training_task(wanted);
    FederatedSettings settings;
    settings.examples_of = worker_examples("dirichlet:0.3", *task, quick ? 50 : 200, request_.seed);
    settings.participants = quick ? 5 : 20;
    settings.rounds = quick ? 20 : request_.scale == Scale::full ? 600 : 200;
    settings.local_steps = 10;
    settings.batch = 20;
    settings.evaluate_every = settings.rounds / 10;
    FederatedTrial trial(cache_, *task, settings);
    // As many combinations for those that have a parameter of their own.
    FederatedGrid rates = {{0.03, 0.1, 0.2, 0.3}, {1, 3}, {{}}}, alphas = {{0.1, 0.3}, {1, 3}, {{}}}, betas;
    if (quick) rates = alphas = {{0.1}, {1}, {{}}};
    rates.rounds = alphas.rounds = settings.rounds / 4;
    betas = alphas;
    alphas.variants =
        values_of("alpha", quick ? std::vector<std::string>{"0.1"} : std::vector<std::string>{"0.1", "0.5"});
    betas.variants =
        values_of("beta", quick ? std::vector<std::string>{"0.2"} : std::vector<std::string>{"0.2", "1"});
    std::vector<Row> rows;
    const auto add = [&](const std::string& name, const std::string& method,
                         const FederatedParameters& parameters, const FederatedGrid& grid) {
      rows.push_back(tuned_row(trial, {"MNIST, " + name, method, parameters}, grid, ""));
    };
    const std::pair<std::string, std::string> equal = {"weights", "equal"};
    add("SCAFFOLD fp32", "scaffold", {}, rates);
    add("FedAvg fp32", "fedavg", {equal}, rates);
    if (scallion_) {
      add("FedAvg + QSGD 2 bits", "fedavg", {equal, {"codec", one_level}}, rates);
      add("SCALLION QSGD 2 bits", "scallion", {{"codec", one_level}}, alphas);
      add("FedAvg + QSGD 4 bits", "fedavg", {equal, {"codec", seven_levels}}, rates);
      add("SCALLION QSGD 4 bits", "scallion", {{"codec", seven_levels}}, alphas);
    } else {
      add("Fed-EF Top-1%", "fedavg", {equal, {"codec", top1}, {"ef", "true"}}, rates);
      add("SCAFCOM Top-1%", "scafcom", {{"codec", top1}}, betas);
      add("FedAvg + Top-1%", "fedavg", {equal, {"codec", top1}}, rates);
    }
    const std::string where =
        fmt::format("MNIST ({} examples, {} clients, Dirichlet 0.3, {} a round, {} rounds, perceptron)",
                    task->examples(), settings.examples_of.size(), settings.participants, settings.rounds);
    accuracy_claim(rows[3], rows[0], where, -0.01,
                   "at most 1.0 points below SCAFFOLD fp32 after as many rounds");
    accuracy_claim(rows[3], rows[2], where, 0, "above the baseline's at equal uplink (1 %)");
    ReproductionTable table;
    table.title = where + ": accuracy against uplink";
    table.rows.push_back({"method", "accuracy", "per seed", "loss", "MB up", "MB down", "rates"});
    for (const Row& row : rows) {
      std::string each;
      for (const ArmNumbers& arm : row.arms) each += fmt::format("{:.4f} ", arm.at("accuracy"));
      table.rows.push_back({row.name, spread_text(spread_of(row.arms, "accuracy"), row.arms.size(), 4), each,
                            fmt::format("{:.4f}", mean_number(row.arms, "loss")),
                            fmt::format("{:.4g}", mean_number(row.arms, "bytes_up") / 1e6),
                            fmt::format("{:.4g}", mean_number(row.arms, "bytes_down") / 1e6), row.choice});
      ReproductionCurve curve;
      curve.chart = "MNIST: accuracy against uplink";
      curve.name = row.name;
      curve.x_label = "bytes up";
      curve.y_label = "accuracy";
      curve.points = curve_of(row.arms, "accuracy");
      result_.curves.push_back(std::move(curve));
    }
    result_.tables.push_back(std::move(table));
    result_.notes.push_back(
        "MNIST: the card takes a small convolutional network; here the library's perceptron, 200 clients of "
        "Dirichlet(0.3) and a tenth of them a round; eight combinations of rates and parameters each, tuned "
        "on the first seed in a quarter of the rounds");
  }

  // `least`: what the mean difference of accuracies must be at least; 0: over it, for every seed.
  void accuracy_claim(const Row& own, const Row& baseline, const std::string& where, double least,
                      const std::string& threshold) {
    Claim claim;
    claim.claim = where + ": " + own.name.substr(7) + " against " + baseline.name.substr(7) + ", accuracy";
    claim.paper = "matches full precision at 10 to 100 times less uplink, beats Fed-EF and FedPAQ (curves)";
    claim.baseline_name = baseline.name;
    claim.baseline_value = mean_number(baseline.arms, "accuracy");
    claim.baseline_bytes = bytes_up(baseline.arms);
    claim.measured_value = mean_number(own.arms, "accuracy");
    claim.measured_bytes = bytes_up(own.arms);
    claim.threshold = threshold;
    bool every = true;
    std::string differences;
    for (std::size_t i = 0; i < own.arms.size(); ++i) {
      const double difference = own.arms[i].at("accuracy") - baseline.arms[i].at("accuracy");
      every = every && difference > 0;
      differences += fmt::format("{}{:+.2f}", i == 0 ? "" : " ", 100 * difference);
    }
    const double difference = claim.measured_value - claim.baseline_value;
    const double bytes =
        static_cast<double>(claim.measured_bytes) / static_cast<double>(claim.baseline_bytes);
    claim.met = least < 0 ? difference >= least : difference > 0 && every && std::abs(bytes - 1) <= 0.01;
    claim.note = fmt::format("points per seed {}; bytes up {:.4f} of the baseline's", differences, bytes);
    result_.claims.push_back(std::move(claim));
  }

  const ReproduceRequest& request_;
  bool scallion_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce_controlled_averaging(const ReproduceRequest& request, const std::string& slug) {
  return ControlledReproduction(request, slug).run();
}

}  // namespace laconic
