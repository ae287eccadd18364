#include "methods/gradients/l-greco/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "methods/gradients/l-greco/leveled_exchange.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/training_trial.h"

namespace laconic::l_greco {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed
using Options = std::vector<std::pair<std::string, std::string>>;

constexpr int workers = 4;
constexpr double equal_bytes = 0.01;  // bytes that are this near are equal
constexpr int most_draws = 5;         // of random levels, for one comparison

struct Row {
  std::string name;
  Arms arms;
  double bytes() const { return spread_of(arms, "bytes").mean; }
  double loss() const { return spread_of(arms, "loss").mean; }
};

// One kind of compressor: its default level, and uniform levels around what L-GreCo may spend.
struct Family {
  std::string name, title, parameter, level;
  std::vector<std::string> uniform;  // coarse to fine, the default last
  Options options;
};

std::vector<Family> families() {
  // The card gives the quantiser no memory: with one, two bits train as well as four and nothing is to
  // choose.
  return {{"quantise", "4-bit quantiser", "bits", "4", {"2", "3", "4"}, {{"feedback", "false"}}},
          {"sparse",
           "top-k of 1 % with feedback",
           "density",
           "0.01",
           {"0.00251189", "0.00398107", "0.00630957", "0.01"},
           {}},
          {"lowrank", "PowerSGD of rank 4", "rank", "4", {"1", "2", "3", "4"}, {}}};
}

// A subject: what is trained, and how good counts as the same.
struct Subject {
  SmallTask small;
  TrainingSettings settings;
  bool classifies = true;
};

class Reproducing {
 public:
  explicit Reproducing(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm), seeds_(training_seeds(request)) {
    result_.slug = "l-greco";
    result_.seed = request.seed;
  }

  Reproduction run() {
    on(pictures());
    if (request_.scale != Scale::quick) on(language());
    if (request_.scale != Scale::full)
      result_.notes.push_back(
          "A perceptron of four matrices stands in for the card's small ResNet; --scale full trains one.");
    result_.arms = cache_.records();
    return std::move(result_);
  }

 private:
  Subject pictures() {
    const bool full = request_.scale == Scale::full, quick = request_.scale == Scale::quick;
    Subject subject;
    subject.small =
        picture_task(request_, full ? "resnet" : "mlp", quick ? 2000 : 10'000, quick ? 2000 : 10'000, 3);
    TrainingSettings& settings = subject.settings;
    settings.batch = 32;
    settings.optimizer.momentum = 0.9;
    epoch_ = std::max<std::int64_t>(1, subject.small.task->examples() / (workers * settings.batch));
    settings.steps = epoch_ * (full ? 15 : quick ? 6 : 10);
    settings.evaluate_every = epoch_;
    settings.rate.rate = 0.05;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = epoch_ / 2;
    settings.rate.steps = settings.steps;
    return subject;
  }

  Subject language() {
    const bool full = request_.scale == Scale::full;
    Subject subject;
    subject.small = full ? text_task(request_) : text_task(request_, small_text_options(0));
    subject.classifies = false;
    TrainingSettings& settings = subject.settings;
    settings.batch = 4;
    settings.steps = full ? 2000 : 400;
    epoch_ = settings.steps / (full ? 6 : 5);
    settings.evaluate_every = epoch_;
    settings.evaluate_limit = full ? 64 : 256;
    settings.optimizer.kind = OptimizerSettings::Kind::adam;
    settings.rate.rate = 2e-3;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = settings.steps / 20;
    settings.rate.steps = settings.steps;
    return subject;
  }

  void on(const Subject& subject) {
    if (!subject.small.note.empty()) result_.notes.push_back(subject.small.note);
    if (!subject.small.task) return;
    TrainingTrial trial(request_, cache_, *subject.small.task, workers, subject.settings);
    const Row raw{"raw", trial.run({"raw", "dense", {}}, seeds_)};
    for (const Family& family : families()) {
      if (request_.scale == Scale::quick && family.name != "lowrank") continue;
      with(subject, trial, family, raw);
    }
  }

  Options options_of(const Family& family, const Options& more) const {
    Options options = {{"family", family.name},
                       {"period", std::to_string(epoch_)},
                       {"start", "0"},
                       {family.parameter, family.level}};
    Options changes = family.options;
    changes.insert(changes.end(), more.begin(), more.end());
    for (const auto& [key, value] : changes) {
      const auto same = std::find_if(options.begin(), options.end(),
                                     [&key = key](const auto& option) { return option.first == key; });
      if (same != options.end()) {
        same->second = value;
      } else {
        options.emplace_back(key, value);
      }
    }
    return options;
  }

  Row planned(TrainingTrial& trial, const Family& family, const std::string& name, const Options& more) {
    return {name, trial.run({family.title + ", " + name, "l-greco", options_of(family, more)}, seeds_)};
  }

  // Bytes a step that go by levels after the first period, the default's being `usual` in all. Tensors
  // without levels go by a dense mean: 2 (W - 1) / W numbers of f32 each.
  double leveled_bytes(const Subject& subject, const Family& family, const ArmNumbers& arm,
                       const ArmNumbers& standard) const {
    LevelRequest request;
    request.tensors = subject.small.task->parameters();
    LowRankRange range;
    range.rank = 4;
    const LeveledExchange leveled = family.name == "quantise" ? quantised_levels(request, 4)
                                    : family.name == "sparse" ? sparse_levels(request, 0.01)
                                                              : low_rank_levels(request, range);
    double raw = 0;
    for (std::size_t i = 0; i < request.tensors.size(); ++i)
      raw += leveled.leveled[i] ? 0 : static_cast<double>(request.tensors[i].size);
    const double dense = 2.0 * (workers - 1) / workers * 4 * raw;
    const auto steps = static_cast<double>(subject.settings.steps), first = static_cast<double>(epoch_);
    const double usual = standard.at("bytes") / steps;
    return (arm.at("bytes") - first * usual) / (steps - first) - dense;
  }

  // Levels are drawn for what a message is predicted to have, which is not quite what messages have in the
  // end: what was spent corrects the share that the next draw is for, until bytes are within `equal_bytes`.
  Row random_at(const Subject& subject, TrainingTrial& trial, const Family& family, const Row& plan,
                const Row& standard) {
    Row random;
    random.name = "random at its bytes";
    for (std::size_t s = 0; s < seeds_.size(); ++s) {
      const double wanted = leveled_bytes(subject, family, plan.arms[s], standard.arms[s]);
      double share = wanted / leveled_bytes(subject, family, standard.arms[s], standard.arms[s]);
      ArmNumbers nearest;
      double least = std::numeric_limits<double>::infinity();
      for (int draw = 0; draw < most_draws && least > equal_bytes; ++draw) {
        const Options options =
            options_of(family, {{"planner", "random"}, {"spend", fmt::format("{:.6f}", share)}});
        const ArmNumbers drawn =
            trial.run({family.title + ", " + random.name, "l-greco", options}, seeds_[s]);
        const double apart = std::abs(drawn.at("bytes") / plan.arms[s].at("bytes") - 1);
        share *= wanted / leveled_bytes(subject, family, drawn, standard.arms[s]);
        if (apart >= least) continue;
        least = apart;
        nearest = drawn;
      }
      random.arms.push_back(nearest);
    }
    return random;
  }

  void with(const Subject& subject, TrainingTrial& trial, const Family& family, const Row& raw) {
    std::vector<Row> uniform;
    const bool small_text = !subject.classifies && request_.scale != Scale::full;
    for (const std::string& level : family.uniform) {
      if (small_text && family.uniform.size() > 3 && level == family.uniform.front()) continue;
      uniform.push_back(planned(trial, family, family.parameter + " " + level + " everywhere",
                                {{"planner", "uniform"}, {family.parameter, level}}));
    }
    const Row& standard = uniform.back();
    const Row plan = planned(trial, family, "l-greco", {});
    const Row random = random_at(subject, trial, family, plan, standard);
    const Row once = planned(trial, family, "l-greco, planned once", {{"most_plans", "1"}});
    std::vector<Row> rows = {raw};
    rows.insert(rows.end(), uniform.begin(), uniform.end());
    for (const Row& row : {plan, random, once}) rows.push_back(row);
    rows.push_back(planned(trial, family, "greedy at its bytes", {{"planner", "greedy"}}));
    rows.push_back(planned(trial, family, "accordion", {{"planner", "accordion"}}));
    rows.push_back(planned(trial, family, "accordion with l-greco", {{"planner", "accordion_dynamic"}}));
    smaller_claim(subject, family, plan, standard);
    const std::size_t smaller = result_.claims.size() - 1;
    matched_claims(subject, family, plan, uniform, random);
    once_claim(subject, family, plan, once);
    // In small, parts are taken away once: of one family, on pictures.
    const bool small_parts =
        request_.scale == Scale::standard && subject.classifies && family.name == "lowrank";
    if (request_.scale == Scale::full || small_parts) {
      rows.push_back(planned(trial, family, "window 1", {{"window", "1"}}));
      rows.push_back(planned(trial, family, "squares", {{"squares", "true"}}));
      for (const char* alpha : {"0.5", "2"})
        rows.push_back(planned(trial, family, fmt::format("alpha {}", alpha), {{"alpha", alpha}}));
      for (const char* buckets : {"10", "100", "1000"})
        rows.push_back(planned(trial, family, fmt::format("{} buckets", buckets), {{"buckets", buckets}}));
    }
    if (request_.scale != Scale::quick && !result_.claims[smaller].met)
      attempts(subject, trial, family, standard, result_.claims[smaller], rows);
    table(subject, family, rows);
  }

  // Where the card's settings do not save a fifth: further along the curve of alpha, and with what was lost
  // kept for the next step. The claim stays what it is, its note tells.
  void attempts(const Subject& subject, TrainingTrial& trial, const Family& family, const Row& standard,
                Claim& claim, std::vector<Row>& rows) {
    std::vector<std::pair<std::string, Options>> tried;
    for (const char* alpha : {"1.5", "2"})
      tried.push_back({fmt::format("alpha {}", alpha), {{"alpha", alpha}}});
    if (family.name == "quantise") {
      tried.push_back({"with feedback", {{"feedback", "true"}}});
      tried.push_back({"alpha 1.5 with feedback", {{"alpha", "1.5"}, {"feedback", "true"}}});
    }
    for (const auto& [name, options] : tried) {
      const Row row = planned(trial, family, name, options);
      const bool known =
          std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return r.name == row.name; });
      if (!known) rows.push_back(row);
      claim.note += fmt::format("; {}: {:.3f} of the bytes, {}", name, row.bytes() / standard.bytes(),
                                quality_text(subject, row));
    }
  }

  static std::string quality_text(const Subject& subject, const Row& row) {
    return subject.classifies ? fmt::format("{:.2f}", 100 * spread_of(row.arms, "accuracy").mean)
                              : fmt::format("{:.3f}", std::exp(row.loss()));
  }

  Claim claim_of(const Subject& subject, const Family& family, const std::string& what, const Row& measured,
                 const std::string& baseline_name, double baseline_value, double baseline_bytes) const {
    Claim claim;
    claim.claim = fmt::format("{}, {}: {}", subject.small.name, family.title, what);
    claim.baseline_name = baseline_name;
    claim.baseline_value = baseline_value;
    claim.baseline_bytes = static_cast<std::uint64_t>(std::llround(baseline_bytes));
    claim.measured_bytes = static_cast<std::uint64_t>(std::llround(measured.bytes()));
    claim.note =
        fmt::format("{} workers, {} steps, {} seeds", workers, subject.settings.steps, seeds_.size());
    return claim;
  }

  // Fewer bytes than the uniform default at its quality.
  void smaller_claim(const Subject& subject, const Family& family, const Row& plan, const Row& standard) {
    double quality = 0, wanted = 0;
    bool same = false;
    std::string threshold;
    if (subject.classifies) {
      quality = 100 * spread_of(plan.arms, "accuracy").mean;
      wanted = 100 * spread_of(standard.arms, "accuracy").mean;
      same = quality >= wanted - 0.3;
      threshold = "at most 0.8 of the bytes, accuracy at most 0.3 points below";
    } else {
      quality = std::exp(plan.loss());
      wanted = std::exp(standard.loss());
      same = quality <= 1.005 * wanted;
      threshold = "at most 0.8 of the bytes, perplexity at most 0.5 % above";
    }
    Claim claim = claim_of(subject, family, "bytes at the quality of the uniform default", plan,
                           standard.name, wanted, standard.bytes());
    claim.paper = "up to 5x more compression than uniform, +50 % ratio, at full accuracy";
    claim.measured_value = quality;
    claim.threshold = threshold;
    claim.met = same && plan.bytes() <= 0.8 * standard.bytes();
    claim.note += fmt::format("; {:.3f} of the bytes", plan.bytes() / standard.bytes());
    result_.claims.push_back(std::move(claim));
  }

  // Loss of uniform levels at these bytes: linear in the logarithm between two measured neighbours.
  static std::optional<double> uniform_loss_at(const std::vector<Row>& uniform, std::size_t seed,
                                               double bytes) {
    for (std::size_t i = 0; i + 1 < uniform.size(); ++i) {
      const ArmNumbers &a = uniform[i].arms[seed], &b = uniform[i + 1].arms[seed];
      const double low = a.at("bytes"), high = b.at("bytes");
      if (!(low <= bytes && bytes <= high)) continue;
      const double share =
          high > low ? (std::log(bytes) - std::log(low)) / (std::log(high) - std::log(low)) : 0;
      return (1 - share) * a.at("loss") + share * b.at("loss");
    }
    return std::nullopt;
  }

  void matched_claims(const Subject& subject, const Family& family, const Row& plan,
                      const std::vector<Row>& uniform, const Row& random) {
    const auto compare = [&](const std::string& what, const std::string& baseline,
                             const std::vector<double>& other, double baseline_bytes,
                             const std::string& unknown) {
      Claim claim = claim_of(subject, family, what, plan, baseline, 0, baseline_bytes);
      claim.paper = "better accuracy than uniform at equal compression";
      claim.measured_value = plan.loss();
      claim.threshold = "lower held-out loss, for every seed";  // so that the interval of three is below 0
      int better = 0;
      std::string per_seed;
      for (std::size_t s = 0; s < other.size(); ++s) {
        claim.baseline_value += other[s] / static_cast<double>(other.size());
        const double own = plan.arms[s].at("loss");
        better += own < other[s] ? 1 : 0;
        per_seed += fmt::format(" {:.4f}/{:.4f}", own, other[s]);
      }
      claim.met = unknown.empty() && better == static_cast<int>(other.size());
      claim.note += unknown.empty() ? fmt::format("; lower for {} seeds; own/other:{}", better, per_seed)
                                    : "; " + unknown;
      result_.claims.push_back(std::move(claim));
    };
    std::vector<double> interpolated, drawn;
    bool known = true;
    for (std::size_t s = 0; s < seeds_.size(); ++s) {
      const auto loss = uniform_loss_at(uniform, s, plan.arms[s].at("bytes"));
      known = known && loss;
      interpolated.push_back(loss.value_or(0));
      drawn.push_back(random.arms[s].at("loss"));
    }
    compare("loss against uniform levels at its bytes", "uniform, interpolated in log bytes", interpolated,
            plan.bytes(),
            known ? "" : "no measured neighbours on both sides of these bytes, nothing to compare");
    double apart = 0;
    for (std::size_t s = 0; s < seeds_.size(); ++s)
      apart = std::max(apart, std::abs(random.arms[s].at("bytes") / plan.arms[s].at("bytes") - 1));
    compare("loss against random levels at its bytes", random.name, drawn, random.bytes(),
            apart <= equal_bytes
                ? ""
                : fmt::format("bytes are up to {:.1f} % apart, which are not equal; own {:.4f}, "
                              "random {:.4f}",
                              100 * apart, plan.loss(), random.loss()));
  }

  void once_claim(const Subject& subject, const Family& family, const Row& plan, const Row& once) {
    Claim claim = claim_of(subject, family, "planned every epoch against planned once", plan, once.name,
                           once.loss(), once.bytes());
    claim.paper = "levels are adjusted as training goes on";
    claim.measured_value = plan.loss();
    claim.threshold = "loss not above, within the spread of the seeds";
    const double spread =
        std::max(spread_of(plan.arms, "loss").deviation, spread_of(once.arms, "loss").deviation);
    claim.met = plan.loss() <= once.loss() + spread;
    claim.note += fmt::format("; spread of the seeds {:.4f}", spread);
    result_.claims.push_back(std::move(claim));
  }

  void table(const Subject& subject, const Family& family, const std::vector<Row>& rows) {
    ReproductionTable table;
    table.title = fmt::format("{}, {}", subject.small.name, family.title);
    table.rows.push_back(
        {"levels", "bytes sent", "of dense", subject.classifies ? "accuracy" : "perplexity", "loss"});
    for (const Row& row : rows) {
      const double dense = spread_of(row.arms, "dense_bytes").mean;
      table.rows.push_back(
          {row.name, fmt::format("{:.0f}", row.bytes()), fmt::format("{:.4f}", row.bytes() / dense),
           subject.classifies ? spread_text(spread_of(row.arms, "accuracy"), seeds_.size(), 4)
                              : fmt::format("{:.3f}", std::exp(row.loss())),
           spread_text(spread_of(row.arms, "loss"), seeds_.size(), 4)});
      result_.curves.push_back({subject.small.name + ", " + family.title, row.name,
                                curve_of(row.arms, "loss"), "bytes sent by a worker", "loss"});
    }
    result_.tables.push_back(std::move(table));
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  std::int64_t epoch_ = 1;  // steps between plans
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) {
  Reproduction result = Reproducing(request).run();
  result.notes.push_back(
      "All arms train the same steps at the same rate; bytes are those a worker sent over the whole run, "
      "vectors "
      "and level vectors included. Nothing is dense at first: the default levels serve until the first plan, "
      "an "
      "epoch in. Greedy levels spend the bytes of a plan made in their place; random ones are drawn once a "
      "run, "
      "for the bytes that the planned run of their seed has spent.");
  return result;
}

}  // namespace laconic::l_greco
