#include "methods/gradients/co2/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "engine/transport/round_model.h"
#include "methods/gradients/co2/convex_claims.h"
#include "methods/gradients/co2/link_claims.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/training_trial.h"

namespace laconic::co2 {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed
using Options = std::vector<std::pair<std::string, std::string>>;

constexpr int workers = 4;
constexpr int reduced_tau = 12, long_tau = 48, eight_bit_tau = 50;

struct Row {
  std::string name;
  double rate = 0;
  Arms arms;
  double loss() const { return spread_of(arms, "loss").mean; }
  double perplexity() const { return std::exp(std::min(loss(), 700.0)); }
  double bytes() const { return spread_of(arms, "bytes").mean; }
  // Of seeds, at least one of which left all bounds.
  bool diverged() const { return spread_of(arms, "loss").most > 1e20; }
};

// What is trained, and how good counts.
struct Subject {
  SmallTask small;
  TrainingSettings settings;
  std::vector<double> rates;
  bool classifies = false;
};

Options with(Options options, const Options& more) {
  for (const auto& [name, value] : more) {
    const auto same = std::find_if(options.begin(), options.end(),
                                   [&wanted = name](const auto& option) { return option.first == wanted; });
    if (same != options.end()) {
      same->second = value;
    } else {
      options.emplace_back(name, value);
    }
  }
  return options;
}

Options tau_of(std::int64_t tau) { return {{"tau", std::to_string(tau)}}; }

const std::vector<std::string>& neighbours() {
  static const std::vector<std::string> names = {"local-sgd", "slowmo", "overlap-local-sgd", "diloco",
                                                 "async-diloco"};
  return names;
}

class Reproducing {
 public:
  explicit Reproducing(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm), seeds_(training_seeds(request)) {
    result_.slug = "co2";
    result_.seed = request.seed;
  }

  Reproduction run() {
    pictures();
    text();
    convex_tables(request_, cache_, result_);
    result_.notes.push_back(fmt::format(
        "{} workers as threads, {} seeds; every method has the rate of a grid that is best for it at tau {} "
        "on the "
        "first seed, and keeps it for other tau and for what is taken from it or added; all train on equally "
        "many "
        "examples. What the paper trains (ResNet-50, GPT-2, 7 B parameters on 128 GPUs) stands behind the "
        "thresholds, not behind the sizes",
        workers, seeds_.size(), reduced_tau));
    result_.arms = cache_.records();
    return std::move(result_);
  }

 private:
  bool quick() const { return request_.scale == Scale::quick; }
  bool full() const { return request_.scale == Scale::full; }

  Row tuned(TrainingTrial& trial, const Subject& subject, const std::string& name,
            const std::string& exchange, const Options& options) {
    auto [rate, arms] = trial.tuned({name, exchange, options}, subject.rates, seeds_);
    return {name, rate, std::move(arms)};
  }
  Row at_rate(TrainingTrial& trial, double rate, const std::string& name, const std::string& exchange,
              const Options& options) {
    return at_rate(trial, rate, name, exchange, options, seeds_);
  }
  Row at_rate(TrainingTrial& trial, double rate, const std::string& name, const std::string& exchange,
              const Options& options, const std::vector<std::uint64_t>& seeds) {
    TrainingArm arm{name, exchange, options,
                    [rate](TrainingSettings& settings) { settings.rate.rate = rate; }};
    return {name, rate, trial.run(arm, seeds)};
  }
  // What no claim is judged on runs on one seed, unless there is time for all.
  std::vector<std::uint64_t> seeds_of_tables() const {
    return full() ? seeds_ : std::vector<std::uint64_t>{seeds_.front()};
  }

  // Pictures: SGD.
  void pictures() {
    Subject subject;
    subject.classifies = true;
    subject.small = picture_task(request_, "cnn", quick() ? 2000 : 10'000, quick() ? 2000 : 10'000, 1,
                                 {{"width", full() ? 32 : 8}, {"dense", full() ? 128 : 64}});
    if (!subject.small.note.empty()) result_.notes.push_back(subject.small.note);
    TrainingSettings& settings = subject.settings;
    settings.batch = 16;
    settings.optimizer.momentum = 0.9;
    settings.steps = full() ? 4800 : quick() ? 192 : 768;
    settings.evaluate_every = settings.steps / 8;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = settings.steps / 20;
    settings.rate.steps = settings.steps;
    subject.rates = quick() ? std::vector<double>{0.02} : std::vector<double>{0.01, 0.03};
    TrainingTrial trial(request_, cache_, *subject.small.task, workers, settings);
    const Options tau = tau_of(reduced_tau);
    std::vector<Row> rows = {tuned(trial, subject, "gradients in every step", "dense", {}),
                             tuned(trial, subject, "local-sgd", "local-sgd", tau)};
    if (!quick()) rows.push_back(tuned(trial, subject, "overlap-local-sgd", "overlap-local-sgd", tau));
    rows.push_back(tuned(trial, subject, "co2", "co2", tau));
    const Row &local = rows[1], &own = rows.back();
    Claim claim =
        claim_of(fmt::format("{}, SGD, tau {}: accuracy against Local-SGD", subject.small.name, reduced_tau),
                 subject, local, own);
    claim.paper = "above Local-SGD and Overlap-Local-SGD by 1 to 3 points of accuracy";
    claim.baseline_value = 100 * spread_of(local.arms, "accuracy").mean;
    claim.measured_value = 100 * spread_of(own.arms, "accuracy").mean;
    claim.threshold = "accuracy not below Local-SGD's";
    claim.met = claim.measured_value >= claim.baseline_value;
    claim.note += fmt::format("; gradients in every step reach {:.2f} %",
                              100 * spread_of(rows[0].arms, "accuracy").mean);
    result_.claims.push_back(std::move(claim));
    table(subject, fmt::format("{}, tau {}", subject.small.name, reduced_tau), rows);
  }

  // Text: Adam, as the paper's language models.
  void text() {
    Subject subject;
    subject.small = full() ? text_task(request_) : text_task(request_, small_text_options(0));
    if (!subject.small.note.empty()) result_.notes.push_back(subject.small.note);
    if (!subject.small.task) return;
    TrainingSettings& settings = subject.settings;
    settings.batch = 4;
    settings.steps = full() ? 4800 : quick() ? 192 : 768;
    settings.evaluate_every = settings.steps / 16;
    settings.evaluate_limit = full() ? 64 : 256;
    settings.optimizer.kind = OptimizerSettings::Kind::adam;
    settings.optimizer.beta2 = 0.98;
    settings.clip = 1;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = settings.steps / 20;
    settings.rate.steps = settings.steps;
    subject.rates = quick() ? std::vector<double>{4e-3} : std::vector<double>{2e-3, 4e-3, 8e-3};
    TrainingTrial trial(request_, cache_, *subject.small.task, workers, settings);

    const Row dense = tuned(trial, subject, "gradients in every step", "dense", {});
    std::map<std::string, std::map<int, Row>> of;  // by method and tau
    std::vector<std::string> methods = quick() ? std::vector<std::string>{"local-sgd"} : neighbours();
    methods.push_back("co2");
    for (const std::string& method : methods) {
      of[method][reduced_tau] = tuned(trial, subject, method, method, tau_of(reduced_tau));
      of[method][reduced_tau].name = fmt::format("{}, tau {}", method, reduced_tau);
      for (const int tau : {4, long_tau}) {
        if (quick()) continue;
        const bool judged = method == "co2" || method == "local-sgd";
        of[method][tau] = at_rate(trial, of[method][reduced_tau].rate, method, method, tau_of(tau),
                                  judged ? seeds_ : seeds_of_tables());
        of[method][tau].name = fmt::format("{}, tau {}", method, tau);
      }
    }
    const Row& co2 = of["co2"][reduced_tau];
    quality_claims(subject, dense, of["local-sgd"][reduced_tau], co2);
    penalty_claim(subject, trial, co2.rate);
    clip_claim(subject, trial, co2.rate);
    eight_bit_claim(subject, trial, of.count("diloco") > 0 ? of["diloco"][reduced_tau].rate : co2.rate);

    std::vector<Row> rows = {dense};
    for (const int tau : {4, reduced_tau, long_tau}) {
      for (const std::string& method : methods) {
        if (of[method].count(tau) > 0) rows.push_back(of[method][tau]);
      }
    }
    table(subject, subject.small.name + ": perplexity at equal tokens", rows);
    for (const Row& row : rows) {
      result_.curves.push_back({"loss", row.name, curve_of(row.arms, "loss"), "bytes", "held-out loss"});
    }
    if (!quick()) {
      ablations(subject, trial, co2);
      longer_runs(subject, {dense.rate, of["local-sgd"][reduced_tau].rate, co2.rate});
    }
    const std::optional<LinkTimes> times = link_claims(request_, cache_, result_);
    if (times) time_to_loss(*times, co2, rows);
  }

  Claim claim_of(const std::string& what, const Subject& subject, const Row& baseline,
                 const Row& measured) const {
    Claim claim;
    claim.claim = what;
    claim.baseline_name = baseline.name;
    claim.baseline_value = baseline.perplexity();
    claim.baseline_bytes = static_cast<std::uint64_t>(std::llround(baseline.bytes()));
    claim.measured_value = measured.perplexity();
    claim.measured_bytes = static_cast<std::uint64_t>(std::llround(measured.bytes()));
    claim.note = fmt::format("{} workers, {} steps, {} seeds, rates {:g} and {:g}", workers,
                             subject.settings.steps, seeds_.size(), baseline.rate, measured.rate);
    return claim;
  }

  void quality_claims(const Subject& subject, const Row& dense, const Row& local, const Row& co2) {
    Claim claim = claim_of(fmt::format("{}, tau {}: perplexity against gradients in every step",
                                       subject.small.name, reduced_tau),
                           subject, dense, co2);
    claim.paper = "GPT-2 small: perplexity 7.37, on par with AdamW and SlowMo (7.34)";
    claim.threshold = "at most 1.02 times the baseline's";
    claim.met = co2.perplexity() <= 1.02 * dense.perplexity();
    claim.note += fmt::format("; {:.4f} times", co2.perplexity() / dense.perplexity());
    result_.claims.push_back(claim);
    claim = claim_of(fmt::format("{}, tau {}: perplexity against Local-SGD", subject.small.name, reduced_tau),
                     subject, local, co2);
    claim.paper = "below Local-SGD and Overlap-Local-SGD by 0.5 to 1.0 of perplexity";
    claim.threshold = "at most the baseline's";
    claim.met = co2.perplexity() <= local.perplexity();
    claim.note += fmt::format("; {:.4f} times", co2.perplexity() / local.perplexity());
    result_.claims.push_back(claim);
  }

  void penalty_claim(const Subject& subject, TrainingTrial& trial, double rate) {
    const Options options = with(tau_of(long_tau), {{"beta", "0.5"}});
    const Row on = at_rate(trial, rate, "co2, tau 48, beta 0.5", "co2", options);
    const Row off =
        at_rate(trial, rate, "co2, tau 48, beta 0.5, no penalty", "co2", with(options, {{"gap", "none"}}));
    Claim claim = claim_of(
        fmt::format("{}, tau {}, beta 0.5: without the staleness penalty", subject.small.name, long_tau),
        subject, on, off);
    claim.paper = "removing the penalty: perplexity 7.39 to 7.56";
    claim.threshold = "worse or equal without it";
    claim.met = off.perplexity() >= on.perplexity();
    result_.claims.push_back(std::move(claim));
  }

  // Outer steps far beyond what is stable, with and without a bound of what one number of the momentum may
  // be.
  void clip_claim(const Subject& subject, TrainingTrial& trial, double rate) {
    const Options wild =
        with(tau_of(reduced_tau), {{"alpha", "3"}, {"beta", "0.8"}, {"gap", "none"}, {"clip", "1e30"}});
    const Row free = at_rate(trial, rate, "co2, alpha 3, beta 0.8, no clip", "co2", wild);
    const Row clipped =
        at_rate(trial, rate, "co2, alpha 3, beta 0.8, clip", "co2",
                with(tau_of(reduced_tau), {{"alpha", "3"}, {"beta", "0.8"}, {"gap", "none"}}));
    const Row tame = at_rate(trial, rate, "co2", "co2", tau_of(reduced_tau));
    const double guess = std::log(256.0);  // a byte that could be any
    Claim claim = claim_of(fmt::format("{}, alpha 3, beta 0.8: loss with the clip", subject.small.name),
                           subject, free, clipped);
    claim.paper = "clipping keeps training stable";
    claim.baseline_value = std::min(free.loss(), 1e30);
    claim.measured_value = clipped.loss();
    claim.threshold =
        "without it the loss ends above that of a uniform guess (5.545); with it at most half way from the "
        "default's "
        "loss to that";
    claim.met = free.loss() > guess && clipped.loss() <= 0.5 * (guess + tame.loss());
    claim.note += fmt::format("; the default ends at {:.4f}", tame.loss());
    result_.claims.push_back(std::move(claim));
  }

  // Card 57, claim (3).
  void eight_bit_claim(const Subject& subject, TrainingTrial& trial, double rate) {
    const Row whole = at_rate(trial, rate, "diloco, 50 steps, f32", "diloco", tau_of(eight_bit_tau));
    const Row coded = at_rate(trial, rate, "diloco, 50 steps, 8 bits",
                              "diloco over ef-owners:uniform(bits=8,group=1024)", tau_of(eight_bit_tau));
    Claim claim = claim_of(fmt::format("{}, DiLoCo with {} steps a round: pseudo-gradients in 8 bits",
                                       subject.small.name, eight_bit_tau),
                           subject, whole, coded);
    claim.paper = "quantised all-reduce for DiLoCo over the internet (PCCL)";
    claim.threshold = "perplexity at most 1.5 % above f32 at no more than 0.27 of its bytes";
    claim.met = coded.perplexity() <= 1.015 * whole.perplexity() && coded.bytes() <= 0.27 * whole.bytes();
    claim.note += fmt::format("; {:.4f} times at {:.4f} of the bytes",
                              coded.perplexity() / whole.perplexity(), coded.bytes() / whole.bytes());
    result_.claims.push_back(std::move(claim));
  }

  void ablations(const Subject& subject, TrainingTrial& trial, const Row& co2) {
    const auto changed = [&](const std::string& name, const Options& options,
                             const std::string& carrier = "") {
      return at_rate(trial, co2.rate, "co2, " + name, "co2" + carrier, with(tau_of(reduced_tau), options),
                     seeds_of_tables());
    };
    std::vector<Row> rows = {at_rate(trial, co2.rate, "co2", "co2", tau_of(reduced_tau), seeds_of_tables())};
    for (const char* beta : {"0", "0.5"})
      rows.push_back(changed(fmt::format("beta {}", beta), {{"beta", beta}}));
    for (const char* alpha : {"0.7", "1.5", "2"})
      rows.push_back(changed(fmt::format("alpha {}", alpha), {{"alpha", alpha}}));
    for (const char* phi : {"0.03", "0.25", "1e30"})
      rows.push_back(changed(fmt::format("clip {}", phi), {{"clip", phi}}));
    for (const char* gap : {"tensor", "element", "none"})
      rows.push_back(changed(fmt::format("gap {}", gap), {{"gap", gap}}));
    rows.push_back(changed("gap constant 2", {{"gap", "constant"}, {"gap_constant", "2"}}));
    rows.push_back(changed("first round local", {{"first", "local"}}));
    rows.push_back(changed("without rates", {{"rates", "false"}}));
    rows.push_back(changed("fidelity official", {{"fidelity", "official"}}));
    rows.push_back(changed("displacements in f32", {}, " over dense"));
    rows.push_back(changed("displacements in 8 bits", {}, " over owners:uniform(bits=8,group=1024)"));
    rows.push_back(
        changed("displacements in 8 bits, feedback", {}, " over ef-owners:uniform(bits=8,group=1024)"));
    rows.push_back(
        changed("displacements in 4 bits, feedback", {}, " over ef-owners:uniform(bits=4,group=1024)"));
    rows.push_back(
        changed("points in 8 bits", {{"mean", "points"}}, " over owners:uniform(bits=8,group=1024)"));
    rows.push_back(changed("tau 4, displacements in 4 bits, feedback", tau_of(4),
                           " over ef-owners:uniform(bits=4,group=1024)"));
    table(subject, fmt::format("{}: parts of co2, tau {}", subject.small.name, reduced_tau), rows);
  }

  // How many steps the lateness is paid with: the distance to gradients in every step as runs grow, one seed.
  struct Rates {
    double dense = 0, local = 0, co2 = 0;
  };
  void longer_runs(const Subject& subject, const Rates& rates) {
    ReproductionTable made{
        fmt::format("{}, tau {}: perplexity over that of gradients in every step, as runs grow",
                    subject.small.name, reduced_tau),
        {{"steps", "gradients in every step", "local-sgd", "co2", "co2, alpha 1.5", "co2 over local-sgd"}}};
    const std::vector<std::uint64_t> seeds = {seeds_.front()};
    for (const std::int64_t times : {1, 4}) {
      TrainingSettings settings = subject.settings;
      settings.steps *= times;
      settings.evaluate_every = settings.steps / 16;
      settings.rate.warmup = settings.steps / 20;
      settings.rate.steps = settings.steps;
      TrainingTrial trial(request_, cache_, *subject.small.task, workers, settings);
      const auto run = [&](double rate, const std::string& exchange, const Options& options) {
        return at_rate(trial, rate, fmt::format("{}, {} steps", exchange, settings.steps), exchange, options,
                       seeds)
            .perplexity();
      };
      const Options tau = tau_of(reduced_tau);
      const double dense = run(rates.dense, "dense", {}), local = run(rates.local, "local-sgd", tau),
                   co2 = run(rates.co2, "co2", tau),
                   quick_outer = run(rates.co2, "co2", with(tau, {{"alpha", "1.5"}}));
      made.rows.push_back(
          {std::to_string(settings.steps), fmt::format("{:.4f}", dense),
           fmt::format("{:.4f} times", local / dense), fmt::format("{:.4f} times", co2 / dense),
           fmt::format("{:.4f} times", quick_outer / dense), fmt::format("{:.4f} times", co2 / local)});
    }
    result_.tables.push_back(std::move(made));
  }

  void table(const Subject& subject, const std::string& title, const std::vector<Row>& rows) {
    ReproductionTable made{title,
                           {{"method", "rate", subject.classifies ? "accuracy, %" : "perplexity",
                             "held-out loss", "bytes a worker", "rounds", "refused"}}};
    for (const Row& row : rows) {
      const Spread loss = spread_of(row.arms, "loss");
      std::string quality = "left all bounds";
      if (subject.classifies) {
        if (row.arms.front().count("accuracy") > 0)
          quality = fmt::format("{:.2f}", 100 * spread_of(row.arms, "accuracy").mean);
      } else if (!row.diverged()) {
        quality = fmt::format("{:.4f}", row.perplexity());
      }
      const auto mean_or = [&](const char* name) {
        return row.arms.front().count(name) > 0 ? fmt::format("{:.0f}", spread_of(row.arms, name).mean)
                                                : std::string("-");
      };
      made.rows.push_back({row.name, fmt::format("{:g}", row.rate), quality,
                           row.diverged() ? std::string("-") : spread_text(loss, row.arms.size(), 4),
                           fmt::format("{:.0f}", row.bytes()), mean_or("rounds"), mean_or("refused")});
    }
    result_.tables.push_back(std::move(made));
  }

  // Steps to a loss from the curves, and what they take on the link by the model of rounds.
  void time_to_loss(const LinkTimes& times, const Row& co2, const std::vector<Row>& rows) {
    // What co2 ends with.
    const std::vector<std::pair<double, double>> curve = loss_by_step(co2);
    const double target = curve.back().second;
    ReproductionTable made{
        fmt::format(
            "seconds to a held-out loss of {:.3f} at {:g} Mbit/s a rank: steps of the curves (one evaluation "
            "every {:.0f}), each {:.2f} ms without communication, reductions {:.1f} ms, by the model of "
            "rounds",
            target, times.megabits, curve[1].first - curve[0].first, 1e3 * times.step, 1e3 * times.reduction),
        {{"method", "steps", "seconds", "times gradients in every step"}}};
    double of_dense = 0;
    for (const Row& row : rows) {
      double steps = 0;
      for (const auto& [step, loss] : loss_by_step(row)) {
        if (loss <= target && steps == 0) steps = step;
      }
      if (steps == 0) {
        made.rows.push_back({row.name, "-", "not reached", "-"});
        continue;
      }
      double seconds = steps * (times.step + times.reduction);
      const std::size_t at = row.name.find("tau ");
      if (at != std::string::npos) {
        const std::int64_t tau = std::stoll(row.name.substr(at + 4));
        const bool late = row.name.rfind("co2", 0) == 0 || row.name.rfind("async", 0) == 0 ||
                          row.name.rfind("overlap", 0) == 0;
        RoundModel model;
        model.workers = workers;
        model.rounds = std::max<std::int64_t>(1, static_cast<std::int64_t>(steps) / tau);
        model.tau = tau;
        model.delay = late ? 1 : 0;
        model.step_seconds = [&](int, std::int64_t) { return times.step; };
        model.reduce_seconds = [&](std::int64_t) { return times.reduction; };
        seconds = simulate_rounds(model).seconds;
      } else {
        of_dense = seconds;
      }
      made.rows.push_back({row.name, fmt::format("{:.0f}", steps), fmt::format("{:.1f}", seconds),
                           of_dense > 0 ? fmt::format("{:.2f}", of_dense / seconds) : std::string("-")});
    }
    result_.tables.push_back(std::move(made));
  }

  static std::vector<std::pair<double, double>> loss_by_step(const Row& row) {
    std::vector<std::pair<double, double>> points;
    const auto by_bytes = curve_of(row.arms, "loss");
    for (std::size_t i = 0; i < by_bytes.size(); ++i)
      points.emplace_back(row.arms.front().at(fmt::format("curve.{}.step", i)), by_bytes[i].second);
    return points;
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) { return Reproducing(request).run(); }

}  // namespace laconic::co2
