#include "methods/gradients/dgc/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/transport/cost_model.h"
#include "methods/gradients/dgc/dgc_exchange.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/training_trial.h"

namespace laconic::dgc {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed
using Options = std::vector<std::pair<std::string, std::string>>;

constexpr int workers = 4;

struct Budget {
  std::string model = "mlp";
  std::map<std::string, double> options;  // of the model
  std::int64_t examples = 10'000, test_examples = 10'000, epochs = 15, batch = 32;
  std::vector<double> rates = {0.05, 0.1};
};

// The card's: 10,000 pictures, 15 epochs, 4 workers.
Budget budget_of(Scale scale) {
  Budget budget;
  if (scale == Scale::full) {
    budget.model = "resnet";
    budget.rates = {0.02, 0.05, 0.1};
  } else if (scale == Scale::quick) {
    budget.examples = 2000;
    budget.test_examples = 2000;
    budget.epochs = 8;
    budget.rates = {0.05};
  }
  return budget;
}

// The card's network where the lab brings it, small: as many steps an epoch as the card has, of fewer
// pictures.
Budget small_residual_budget() {
  Budget budget;
  budget.model = "resnet";
  budget.options = {{"depth", 8}, {"width", 8}};
  budget.examples = 2560;
  budget.test_examples = 2000;
  budget.batch = 8;
  budget.rates = {0.1, 0.2, 0.4};
  return budget;
}

Options dgc_options(const std::string& ratio, int warmup_epochs, const Options& more = {}) {
  Options options = {{"ratio", ratio}, {"warmup_epochs", std::to_string(warmup_epochs)}};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

class Reproducing {
 public:
  explicit Reproducing(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm), seeds_(training_seeds(request)) {
    result_.slug = "dgc";
    result_.seed = request.seed;
  }

  Reproduction run() {
    const Budget budget = budget_of(request_.scale);
    const SmallTask small = task_of(budget);
    if (!small.note.empty()) result_.notes.push_back(small.note);
    const double rate = pictures(small, budget);
    growth(*small.task, budget, rate);
    if (request_.scale == Scale::standard) small_residual();
    if (request_.scale == Scale::quick) {
      result_.notes.push_back("Nothing is trained on text; the other scales do.");
    } else {
      text();
    }
    result_.arms = cache_.records();
    return std::move(result_);
  }

 private:
  struct Row {
    std::string name;
    double rate = 0;
    Arms arms;
  };

  SmallTask task_of(const Budget& budget) const {
    return picture_task(request_, budget.model, budget.examples, budget.test_examples, 1, budget.options);
  }

  void small_residual() {
    const Budget budget = small_residual_budget();
    const SmallTask small = task_of(budget);
    if (small.note.empty() && !request_.data.empty()) {
      pictures(small, budget);
    } else {
      result_.notes.push_back(
          "The card's small ResNet was not trained: it needs the lab and a data directory.");
    }
  }

  static std::int64_t epoch_of(const TrainingTask& task, const Budget& budget) {
    return std::max<std::int64_t>(1, task.examples() / (workers * budget.batch));
  }

  static TrainingSettings settings_of(const TrainingTask& task, const Budget& budget) {
    TrainingSettings settings;
    settings.optimizer.momentum = 0.9;
    settings.optimizer.nesterov = true;
    settings.batch = budget.batch;
    const std::int64_t epoch = epoch_of(task, budget);
    settings.steps = epoch * budget.epochs;
    settings.evaluate_every = epoch;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = std::min<std::int64_t>(5, budget.epochs / 3) * epoch;
    settings.rate.steps = settings.steps;
    return settings;
  }

  // Returns the rate of dgc.
  double pictures(const SmallTask& small, const Budget& budget) {
    const std::int64_t epoch = epoch_of(*small.task, budget);
    const TrainingSettings settings = settings_of(*small.task, budget);
    TrainingTrial trial(request_, cache_, *small.task, workers, settings);
    const auto tuned = [&](const std::string& name, const std::string& exchange, const Options& options) {
      auto [rate, arms] = trial.tuned({name, exchange, options}, budget.rates, seeds_);
      return Row{name, rate, std::move(arms)};
    };
    const Row dense = tuned("dense", "dense", {});
    const Row dgc = tuned("dgc 0.1 %", "dgc", dgc_options("0.001", 2));
    const Row dropping =
        tuned("gradient dropping 0.1 %", "dgc", dgc_options("0.001", 0, {{"momentum_correction", "false"}}));
    const Row lost =
        tuned("top-k 0.1 % without residual", "dgc",
              dgc_options("0.001", 0, {{"momentum_correction", "false"}, {"residual", "false"}}));
    picture_claims(small, budget, dense, dgc, dropping, lost);
    std::vector<Row> rows = {dense, dgc, dropping, lost};
    if (request_.scale != Scale::quick) {
      // The rate is that of dgc: what a part is worth, everything else equal.
      const auto without = [&](const std::string& name, const Options& options) {
        const double rate = dgc.rate;
        TrainingArm arm{name, "dgc", options,
                        [rate](TrainingSettings& changed) { changed.rate.rate = rate; }};
        rows.push_back({name, rate, trial.run(arm, seeds_)});
      };
      without("dgc without masking", dgc_options("0.001", 2, {{"masking", "false"}}));
      without("dgc without momentum correction", dgc_options("0.001", 2, {{"momentum_correction", "false"}}));
      without("dgc without warm-up", dgc_options("0.001", 0));
      if (budget.options.empty()) {
        without("dgc in f16", dgc_options("0.001", 2, {{"values", "f16"}}));
        without("dgc in f16, rounding lost",
                dgc_options("0.001", 2, {{"values", "f16"}, {"keep_rounding", "false"}}));
        without("dgc, exact selection", dgc_options("0.001", 2, {{"select", "exact"}}));
      }
    }
    table(small.name, rows, epoch);
    return dgc.rate;
  }

  // Bytes of one message after the warm-up: what a worker sent in the last epoch, by step and receiver.
  static double message_bytes(const Arms& arms, std::int64_t epoch, int ranks = workers) {
    const auto curve = curve_of(arms, "loss");
    if (curve.size() < 2) return 0;
    return (curve[curve.size() - 1].first - curve[curve.size() - 2].first) /
           static_cast<double>(epoch * (ranks - 1));
  }

  // The first evaluation whose mean number reaches `wanted`; past the end where none does.
  static std::size_t reached(const Arms& arms, const std::string& number, double wanted) {
    const auto curve = curve_of(arms, number);
    std::size_t i = 0;
    while (i < curve.size() && curve[i].second < wanted) ++i;
    return i;
  }

  void picture_claims(const SmallTask& small, const Budget& budget, const Row& dense, const Row& dgc,
                      const Row& dropping, const Row& lost) {
    const auto accuracy = [](const Row& row) { return 100 * spread_of(row.arms, "accuracy").mean; };
    const std::string arms =
        fmt::format("{}, {} workers, {} epochs, {} seeds", small.name, workers, budget.epochs, seeds_.size());
    const auto quality = [&](const std::string& what, const std::string& paper, const Row& baseline,
                             const std::string& threshold, bool met, const std::string& note) {
      Claim claim;
      claim.claim = small.name + ": " + what;
      claim.paper = paper;
      claim.baseline_name = baseline.name;
      claim.baseline_value = accuracy(baseline);
      claim.baseline_bytes = bytes_of(baseline);
      claim.measured_value = accuracy(dgc);
      claim.measured_bytes = bytes_of(dgc);
      claim.threshold = threshold;
      claim.met = met;
      claim.note = arms + note;
      result_.claims.push_back(std::move(claim));
    };
    const auto points = [&](const Row& row) {
      const Spread spread = spread_of(row.arms, "accuracy");
      return fmt::format("{:.2f} +- {:.2f}", 100 * spread.mean, 100 * spread.deviation);
    };
    quality("accuracy at 99.9 % sparsity", "ResNet-110 CIFAR-10: 93.75 dense, 93.87 with DGC", dense,
            "at most 0.7 points below dense", accuracy(dgc) >= accuracy(dense) - 0.7,
            fmt::format("; dgc {}, dense {}", points(dgc), points(dense)));
    // Slower: where DGC stands at half of the run is reached in a later epoch.
    const auto curve = curve_of(dgc.arms, "accuracy");
    const double half = curve[curve.size() / 2].second;
    const std::size_t own = reached(dgc.arms, "accuracy", half),
                      other = reached(dropping.arms, "accuracy", half);
    quality("gradient dropping (plain residual, momentum on the server)",
            "DGC keeps accuracy where gradient dropping loses it", dropping,
            "lower by at least 1 point, or slower", accuracy(dropping) <= accuracy(dgc) - 1 || other > own,
            fmt::format("; dropping {}, dgc {}; {:.2f} % are reached in epoch {} and {}", points(dropping),
                        points(dgc), 100 * half, other + 1, own + 1));
    quality("without a residual", "what is not sent must be kept", lost,
            "far below: by more than gradient dropping, and by at least 1 point",
            accuracy(lost) <= accuracy(dgc) - 1 && accuracy(lost) < accuracy(dropping),
            fmt::format("; without residual {}, dropping {}", points(lost), points(dropping)));

    byte_claims(small, message_bytes(dgc.arms, epoch_of(*small.task, budget)));
    for (const Row* row : {&dense, &dgc, &dropping, &lost})
      result_.curves.push_back({small.name + ", 4 workers", row->name, curve_of(row->arms, "accuracy"),
                                "bytes sent by a worker", "accuracy"});
  }

  void byte_claims(const SmallTask& small, double message) {
    const std::vector<bool> sparse = is_sparse(small.task->parameters());
    double matrices = 0, sent = 0, vectors = 0;
    for (std::size_t i = 0; i < sparse.size(); ++i) {
      const auto size = static_cast<double>(small.task->parameters()[i].size);
      if (sparse[i]) {
        matrices += size;
        sent += std::ceil(size * 0.001);
      } else {
        vectors += size;
      }
    }
    const auto bytes = [&](const std::string& what, double numbers, double measured, double threshold,
                           const std::string& note) {
      Claim claim;
      claim.claim = small.name + ": " + what;
      claim.paper = "ResNet-50: 97.5 MB -> 0.35 MB, 277x; up to 608x";
      claim.baseline_name = "gradient in f32, bytes";
      claim.baseline_value = 4 * numbers;
      claim.baseline_bytes = static_cast<std::uint64_t>(4 * numbers);
      claim.measured_value = measured;
      claim.measured_bytes = static_cast<std::uint64_t>(measured);
      claim.threshold = fmt::format("at least {:.0f} times fewer", threshold);
      claim.met = measured > 0 && 4 * numbers >= threshold * measured;
      claim.note = fmt::format("{:.1f} times fewer; {}", 4 * numbers / measured, note);
      result_.claims.push_back(std::move(claim));
    };
    const double numbers = matrices + vectors;
    std::string note = fmt::format("{:.0f} parameters, {:.0f} values sent a step, vectors included", numbers,
                                   sent + vectors);
    // Then no selection can reach it: the vectors, which travel whole, are a larger share.
    const bool beyond = 400 * vectors > numbers;
    if (beyond) note += fmt::format("; {:.0f} of them are in vectors, which travel dense", vectors);
    bytes("value bytes of a message after the warm-up", numbers, 4 * (sent + vectors), 400, note);
    bytes("real bytes of a message after the warm-up, positions and headers included", numbers, message, 300,
          note);
    if (!beyond) return;
    note = fmt::format(
        "{:.0f} numbers in {} matrices, {:.0f} values sent a step: effectively {:.3g}, as one "
        "of each is the least",
        matrices, std::count(sparse.begin(), sparse.end(), true), sent, sent / matrices);
    // So few vectors are part of the message, whole.
    bytes("value bytes of what is sent sparsely", matrices, 4 * sent, 400, note);
    bytes("real bytes of what is sent sparsely", matrices, message - 4 * vectors, 300, note);
  }

  static std::uint64_t bytes_of(const Row& row) {
    return static_cast<std::uint64_t>(std::llround(spread_of(row.arms, "bytes").mean));
  }

  void table(const std::string& subject, const std::vector<Row>& rows, std::int64_t epoch) {
    ReproductionTable table;
    table.title = subject + ": arms";
    table.rows.push_back({"arm", "rate", "accuracy", "loss", "bytes sent", "message bytes", "seconds"});
    for (const Row& row : rows) {
      const bool classifies = row.arms.front().count("accuracy") > 0;
      table.rows.push_back({row.name, fmt::format("{:.3g}", row.rate),
                            classifies ? spread_text(spread_of(row.arms, "accuracy"), seeds_.size(), 4) : "",
                            spread_text(spread_of(row.arms, "loss"), seeds_.size(), 4),
                            std::to_string(bytes_of(row)),
                            fmt::format("{:.0f}", message_bytes(row.arms, epoch)),
                            fmt::format("{:.1f}", spread_of(row.arms, "seconds").mean)});
    }
    result_.tables.push_back(std::move(table));
  }

  // What a worker receives a step, by the number of workers: the slope of the all-gather. And what a step's
  // exchange would take at 100 Mbit/s, by the cost model.
  void growth(const TrainingTask& task, const Budget& budget, double rate) {
    TrainingSettings settings = settings_of(task, budget);
    settings.steps = 20;
    settings.evaluate_every = 10;
    settings.evaluate_limit = 100;
    settings.rate = {};
    settings.rate.rate = rate;
    ReproductionTable table;
    table.title =
        "bytes a worker receives in a step at 0.1 %, and predicted seconds of the exchange at 100 Mbit/s";
    table.rows.push_back({"workers", "dense", "dgc", "dense s", "dgc s"});
    const double numbers = static_cast<double>(layout_size(task.parameters()));
    for (const int ranks : {2, 4, 8}) {
      TrainingTrial trial(request_, cache_, task, ranks, settings);
      const Arms arms =
          trial.run({fmt::format("dgc, {} workers, 20 steps", ranks), "dgc", dgc_options("0.001", 0)},
                    std::vector<std::uint64_t>{seeds_.front()});
      const double message = message_bytes(arms, 10, ranks);
      Link link;
      link.alpha = 1e-3;
      link.beta = 8 / 100e6;
      table.rows.push_back({std::to_string(ranks), fmt::format("{:.0f}", 8 * numbers * (ranks - 1) / ranks),
                            fmt::format("{:.0f}", message * (ranks - 1)),
                            fmt::format("{:.4f}", ring_all_reduce_seconds(link, ranks, 4 * numbers)),
                            fmt::format("{:.4f}", all_gather_seconds(link, ranks, message))});
    }
    result_.tables.push_back(std::move(table));
  }

  // Four epochs, the first of them with a higher share: without it perplexity stays a quarter above dense.
  void text() {
    const bool full = request_.scale == Scale::full;
    const SmallTask small = full ? text_task(request_) : text_task(request_, small_text_options(4800));
    if (!small.note.empty()) result_.notes.push_back(small.note);
    if (!small.task) return;
    TrainingSettings settings;
    settings.optimizer.momentum = 0.9;
    settings.batch = 4;
    const std::int64_t epoch = std::max<std::int64_t>(1, small.task->examples() / (workers * settings.batch));
    settings.steps = 4 * epoch;
    settings.evaluate_every = epoch;
    settings.evaluate_limit = 256;
    settings.clip = 1;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.warmup = settings.steps / 10;
    settings.rate.steps = settings.steps;
    TrainingTrial trial(request_, cache_, *small.task, workers, settings);
    const std::vector<double> rates = {0.1, 0.3, 1, 3};
    std::vector<Row> rows;
    const auto tuned = [&](const std::string& name, const std::string& exchange, const Options& options) {
      auto [rate, arms] = trial.tuned({name, exchange, options}, rates, seeds_);
      rows.push_back({name, rate, std::move(arms)});
      return rows.size() - 1;
    };
    const std::size_t dense = tuned("dense", "dense", {});
    const std::size_t percent = tuned("dgc 1 %", "dgc", dgc_options("0.01", 1));
    const std::size_t thousandth = tuned("dgc 0.1 %", "dgc", dgc_options("0.001", 1));
    const auto changed = [&](const std::string& name, const Options& options, bool clip_after) {
      const double rate = rows[percent].rate;
      TrainingArm arm{name, "dgc", options, [rate, clip_after](TrainingSettings& other) {
                        other.rate.rate = rate;
                        if (clip_after) other.clip_where = TrainingSettings::Clip::after;
                      }};
      rows.push_back({name, rate, trial.run(arm, seeds_)});
    };
    changed("dgc 1 %, clipped after the exchange", dgc_options("0.01", 1), true);
    changed("dgc 1 %, no warm-up of sparsity", dgc_options("0.01", 0), false);
    for (const std::size_t row : {percent, thousandth})
      result_.claims.push_back(perplexity_claim(small, settings, rows[row], rows[dense], rates));
    table(small.name, rows, epoch);
    for (const std::size_t row : {dense, percent, thousandth})
      result_.curves.push_back({small.name + ", 4 workers", rows[row].name, curve_of(rows[row].arms, "loss"),
                                "bytes sent by a worker", "nats a token"});
  }

  Claim perplexity_claim(const SmallTask& small, const TrainingSettings& settings, const Row& row,
                         const Row& dense, const std::vector<double>& rates) const {
    Claim claim;
    const double a = std::exp(spread_of(row.arms, "loss").mean);
    const double b = std::exp(spread_of(dense.arms, "loss").mean);
    claim.claim =
        fmt::format("{}: perplexity with {}, gradients clipped on each worker", small.name, row.name);
    claim.paper = "2-layer LSTM on PTB: 72.30 dense, 72.24 with DGC";
    claim.baseline_name = dense.name;
    claim.baseline_value = b;
    claim.baseline_bytes = bytes_of(dense);
    claim.measured_value = a;
    claim.measured_bytes = bytes_of(row);
    claim.threshold = "at most 2 % above dense";
    claim.met = a <= 1.02 * b;
    claim.note = fmt::format(
        "perplexity of a byte, {:+.1f} %; loss {}, dense {}; {} parameters, {} steps in 4 epochs, the first "
        "one with a higher share; {} workers",
        100 * (a / b - 1), spread_text(spread_of(row.arms, "loss"), seeds_.size(), 4),
        spread_text(spread_of(dense.arms, "loss"), seeds_.size(), 4), layout_size(small.task->parameters()),
        settings.steps, workers);
    for (const Row* tuned : {&dense, &row}) {
      const bool inside = tuned->rate != rates.front() && tuned->rate != rates.back();
      claim.note += fmt::format("; rate of {} {:.3g}{}", tuned->name, tuned->rate,
                                inside ? "" : ", an end of the grid");
    }
    return claim;
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) {
  Reproduction result = Reproducing(request).run();
  result.notes.push_back(
      "The learning rate of every arm is the best of one grid for the first seed. A message goes to every "
      "other worker; its bytes are counted once against the gradient in f32, bytes sent are those of the "
      "link.");
  return result;
}

}  // namespace laconic::dgc
