#include "methods/gradients/co2/convex_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/dataset/partition.h"
#include "methods/arm_numbers.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/trainer.h"

namespace laconic::co2 {
namespace {

using Scale = ReproduceRequest::Scale;
using Options = std::vector<std::pair<std::string, std::string>>;

constexpr int convex_workers = 4;
constexpr int convex_version = 1;

// f over all rows, with its regulariser.
class Objective {
 public:
  explicit Objective(const TrainingTask& task)
      : replica_(task.replica()), rows_(static_cast<std::size_t>(task.examples())) {
    std::iota(rows_.begin(), rows_.end(), std::int64_t{0});
  }
  double operator()(std::span<const float> point, std::vector<float>& gradient) {
    gradient.resize(point.size());
    return replica_->gradient(point, rows_, gradient);
  }

 private:
  std::unique_ptr<TrainingReplica> replica_;
  std::vector<std::int64_t> rows_;
};

// The least f that accelerated gradient steps find (Nesterov 1983), halving the step where f grows.
double least_loss(const TrainingTask& task, int steps) {
  Objective objective(task);
  std::vector<float> x = task.initial(0), before = x, y = x, gradient;
  double step = 8, least = objective(x, gradient);
  for (int t = 1; t <= steps; ++t) {
    const double at_y = objective(y, gradient);
    std::vector<float> next(y.size()), ignored;
    double square = 0;
    for (const float g : gradient) square += static_cast<double>(g) * g;
    for (int halvings = 0; halvings < 40; ++halvings) {
      for (std::size_t j = 0; j < y.size(); ++j) next[j] = static_cast<float>(y[j] - step * gradient[j]);
      if (objective(next, ignored) <= at_y - 0.45 * step * square + 1e-9) break;
      step /= 2;
    }
    const double f = objective(next, ignored);
    const double weight = f > least ? 0 : static_cast<double>(t) / (t + 3.0);
    least = std::min(least, f);
    before = x;
    x = next;
    for (std::size_t j = 0; j < y.size(); ++j)
      y[j] = static_cast<float>(x[j] + weight * (static_cast<double>(x[j]) - before[j]));
  }
  return least;
}

struct ConvexArm {
  std::string name, exchange;
  Options parameters;
};

}  // namespace

void convex_tables(const ReproduceRequest& request, ArmCache& cache, Reproduction& result) {
  if (request.scale == Scale::quick) return;
  TaskRequest wish;
  wish.data = request.data;
  wish.seed = request.seed;
  wish.dataset = request.data.empty() ? "synthetic-logistic" : "a9a";
  wish.model = "logistic";
  const std::unique_ptr<TrainingTask> task = make_training_task(wish);
  const std::string about =
      fmt::format("co2 convex {}\n{}\nseed {}", convex_version, task->text(), request.seed);
  const double least = number(cache.arm(wish.dataset + ": least loss", about + "\nleast",
                                        [&] {
                                          return ArmNumbers{{"loss", least_loss(*task, 600)}};
                                        }),
                              "loss");
  std::vector<float> ignored;
  const double begin = Objective(*task)(task->initial(0), ignored);

  TrainingSettings settings;
  settings.examples_of =
      partition(parse_partition_rule("iid"), task->examples(), task->labels(), convex_workers, request.seed);
  std::size_t smallest = settings.examples_of.front().size();
  for (const auto& rows : settings.examples_of) smallest = std::min(smallest, rows.size());
  for (auto& rows : settings.examples_of) rows.resize(smallest);  // a batch is all of a worker's rows
  settings.batch = static_cast<std::int64_t>(smallest);
  settings.optimizer.momentum = 0;
  settings.seed = request.seed;
  settings.evaluate_limit = 1;
  const std::vector<ConvexArm> arms = {{"gradients in every step", "dense", {}},
                                       {"local-sgd", "local-sgd", {{"tau", "12"}}},
                                       {"slowmo", "slowmo", {{"tau", "12"}, {"beta", "0.5"}}},
                                       {"overlap-local-sgd", "overlap-local-sgd", {{"tau", "12"}}},
                                       {"co2", "co2", {{"tau", "12"}}},
                                       {"co2 without penalty", "co2", {{"tau", "12"}, {"gap", "none"}}},
                                       {"co2 of 48 steps", "co2", {{"tau", "48"}}}};
  const std::vector<std::int64_t> lengths = {48, 192, 768, 1536};
  ReproductionTable table{
      fmt::format("{}, logistic regression, {} workers, full local gradients: (f - f*) / (f_0 - f*) after "
                  "steps, at the best of three rates",
                  wish.dataset, convex_workers),
      {{"method", "rate", "48", "192", "768", "1536", "bytes of the last"}}};
  for (const ConvexArm& arm : arms) {
    const ExchangeCandidate candidate = exchange_by_name(arm.exchange, arm.parameters);
    ArmNumbers best;
    double best_rate = 0;
    for (const double rate : {0.1, 0.3, 1.0}) {
      const std::string key = fmt::format("{}\n{}\nrate {}", about, candidate.key, rate);
      const ArmNumbers numbers =
          cache.arm(fmt::format("{}, {}, rate {}", wish.dataset, arm.name, rate), key, [&] {
            ArmNumbers made;
            Objective objective(*task);
            for (const std::int64_t steps : lengths) {
              TrainingSettings run = settings;
              use_exchange(run, candidate);
              run.steps = run.rate.steps = steps;
              run.rate.rate = rate;
              const TrainingResult trained = train_on_threads(*task, run, convex_workers);
              made[fmt::format("gap.{}", steps)] =
                  (objective(trained.final_parameters, ignored) - least) / (begin - least);
              made[fmt::format("bytes.{}", steps)] = static_cast<double>(trained.sent_bytes);
            }
            return made;
          });
      const std::string last = fmt::format("gap.{}", lengths.back());
      if (best.empty() || number(numbers, last) < number(best, last)) {
        best = numbers;
        best_rate = rate;
      }
    }
    std::vector<std::string> row = {arm.name, fmt::format("{:g}", best_rate)};
    ReproductionCurve curve{"convex", arm.name, {}, "bytes", "relative gap"};
    for (const std::int64_t steps : lengths) {
      const double gap = number(best, fmt::format("gap.{}", steps));
      row.push_back(fmt::format("{:.2e}", gap));
      curve.points.emplace_back(number(best, fmt::format("bytes.{}", steps)), gap);
    }
    row.push_back(fmt::format("{:.0f}", number(best, fmt::format("bytes.{}", lengths.back()))));
    table.rows.push_back(std::move(row));
    result.curves.push_back(std::move(curve));
  }
  result.tables.push_back(std::move(table));
}

}  // namespace laconic::co2
