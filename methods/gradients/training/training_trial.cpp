#include "methods/gradients/training/training_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/training_checkpoint.h"

namespace laconic {
namespace {

constexpr double diverged_loss = 1e30;

// Everything that the numbers of an arm follow from.
std::string key_of(const TrainingTask& task, const TrainingSettings& settings, const std::string& exchange,
                   int workers) {
  StreamingHash128 partition;
  for (const auto& examples : settings.examples_of) partition.update(std::as_bytes(std::span(examples)));
  return fmt::format(
      "training 1\n{}\n{}\n{}\n{}\nsteps {} batch {} x {} workers {} clip {} {} bf16 {} seed {} buckets "
      "{} partition {} evaluation {} {}",
      task.text(), exchange, settings.optimizer.text(), settings.rate.text(), settings.steps, settings.batch,
      settings.accumulate, workers, settings.clip,
      settings.clip_where == TrainingSettings::Clip::before ? "before" : "after", settings.bf16_gradients,
      settings.seed, settings.bucket_bytes,
      settings.examples_of.empty() ? std::string("none") : to_hex(partition.digest()),
      settings.evaluate_every, settings.evaluate_limit);
}

ArmNumbers numbers_of(const TrainingResult& result) {
  ArmNumbers numbers;
  const EvaluationRecord& last = result.evaluations.back();
  numbers["loss"] = std::isfinite(last.held_out.loss) ? last.held_out.loss : diverged_loss;
  if (last.held_out.accuracy) numbers["accuracy"] = *last.held_out.accuracy;
  numbers["training_loss"] = last.training_loss;
  numbers["bytes"] = static_cast<double>(result.sent_bytes);
  numbers["all_bytes"] = static_cast<double>(result.all_sent_bytes);
  numbers["dense_bytes"] = static_cast<double>(result.dense_bytes);
  numbers["steps"] = static_cast<double>(result.steps);
  numbers["refused"] = static_cast<double>(result.refused);
  numbers["seconds"] = result.seconds;
  if (result.rounds > 0) numbers["rounds"] = static_cast<double>(result.rounds);
  numbers["diverged"] = std::isfinite(last.held_out.loss) ? 0 : 1;
  for (std::size_t i = 0; i < result.evaluations.size(); ++i) {
    const EvaluationRecord& record = result.evaluations[i];
    const std::string place = fmt::format("curve.{}.", i);
    numbers[place + "step"] = static_cast<double>(record.step);
    numbers[place + "bytes"] = static_cast<double>(record.sent_bytes);
    numbers[place + "loss"] = std::isfinite(record.held_out.loss) ? record.held_out.loss : diverged_loss;
    if (record.held_out.accuracy) numbers[place + "accuracy"] = *record.held_out.accuracy;
  }
  return numbers;
}

ArmNumbers diverged_numbers() {
  return {{"loss", diverged_loss},
          {"accuracy", 0},
          {"training_loss", diverged_loss},
          {"bytes", 0},
          {"all_bytes", 0},
          {"dense_bytes", 0},
          {"steps", 0},
          {"refused", 0},
          {"seconds", 0},
          {"diverged", 1}};
}

}  // namespace

TrainingTrial::TrainingTrial(const ReproduceRequest& request, ArmCache& cache, const TrainingTask& task,
                             int workers, TrainingSettings settings)
    : request_(request), cache_(cache), task_(task), workers_(workers), settings_(std::move(settings)) {}

ArmNumbers TrainingTrial::run(const TrainingArm& arm, std::uint64_t seed) {
  TrainingSettings settings = settings_;
  const ExchangeCandidate candidate = exchange_by_name(arm.exchange, arm.parameters);
  use_exchange(settings, candidate);
  settings.seed = seed;
  if (arm.adapt) arm.adapt(settings);
  if (settings.rate.steps == 0) settings.rate.steps = settings.steps;
  const std::string key = key_of(task_, settings, candidate.key, workers_);
  const std::string name = fmt::format("{}, rate {:.3g}, seed {}", arm.name, settings.rate.rate, seed);
  return cache_.arm(name, key, [&] {
    settings.checkpoint = cache_.work_directory(key);
    settings.checkpoint_every = 0;  // when interrupted
    settings.resume = has_checkpoint(settings.checkpoint);
    TrainingListener listener;
    if (request_.progress) {
      listener.progress = [&](const ProgressReport& report) {
        ProgressReport named = report;
        named.activity = name + ": " + report.activity;
        request_.progress(named);
      };
    }
    try {
      return numbers_of(train_on_threads(task_, settings, workers_, listener));
    } catch (const Error& error) {
      // Ten refused steps in a row: the arm has diverged, which is a result.
      if (error.kind() != ErrorKind::input) throw;
      return diverged_numbers();
    }
  });
}

std::vector<ArmNumbers> TrainingTrial::run(const TrainingArm& arm, const std::vector<std::uint64_t>& seeds) {
  std::vector<ArmNumbers> numbers;
  for (const std::uint64_t seed : seeds) numbers.push_back(run(arm, seed));
  return numbers;
}

std::pair<double, std::vector<ArmNumbers>> TrainingTrial::tuned(const TrainingArm& arm,
                                                                const std::vector<double>& rates,
                                                                const std::vector<std::uint64_t>& seeds) {
  require(!rates.empty() && !seeds.empty(), "a grid has rates, a comparison has seeds");
  const auto at_rate = [&](double rate) {
    TrainingArm changed = arm;
    changed.adapt = [&arm, rate](TrainingSettings& settings) {
      if (arm.adapt) arm.adapt(settings);
      settings.rate.rate = rate;
    };
    return changed;
  };
  double best = rates.front(), least = std::numeric_limits<double>::infinity();
  for (const double rate : rates) {
    const double loss = run(at_rate(rate), seeds.front()).at("loss");
    if (loss < least) {
      least = loss;
      best = rate;
    }
  }
  return {best, run(at_rate(best), seeds)};
}

std::pair<double, std::vector<ArmNumbers>> TrainingTrial::tuned_inside(
    const TrainingArm& arm, std::vector<double> rates, const std::vector<std::uint64_t>& seeds,
    std::size_t most) {
  std::sort(rates.begin(), rates.end());
  // One digit: 0.3 after 0.1, 1 after 0.3.
  const auto next = [](double rate, double factor) {
    return std::stod(fmt::format("{:.0e}", rate * factor));
  };
  for (;;) {
    const double best = tuned(arm, rates, {seeds.front()}).first;
    const bool below = best == rates.front(), above = best == rates.back();
    if (rates.size() >= most || !(below || above)) return tuned(arm, rates, seeds);
    if (below) rates.insert(rates.begin(), next(rates.front(), 0.32));
    if (above) rates.push_back(next(rates.back(), 3.2));
  }
}

Spread spread_of(const std::vector<ArmNumbers>& arms, const std::string& number) {
  require(!arms.empty(), "a spread has values");
  Spread spread;
  spread.least = spread.most = arms.front().at(number);
  for (const ArmNumbers& arm : arms) {
    const double value = arm.at(number);
    spread.mean += value / static_cast<double>(arms.size());
    spread.least = std::min(spread.least, value);
    spread.most = std::max(spread.most, value);
  }
  if (arms.size() > 1) {
    double square = 0;
    for (const ArmNumbers& arm : arms) {
      const double distance = arm.at(number) - spread.mean;
      square += distance * distance;
    }
    spread.deviation = std::sqrt(square / static_cast<double>(arms.size() - 1));
  }
  return spread;
}

std::string spread_text(const Spread& spread, std::size_t seeds, int digits) {
  return fmt::format("{:.{}f} +- {:.{}f} ({} seeds)", spread.mean, digits, spread.deviation, digits, seeds);
}

std::vector<std::pair<double, double>> curve_of(const std::vector<ArmNumbers>& arms,
                                                const std::string& number) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0;; ++i) {
    const std::string bytes_name = fmt::format("curve.{}.bytes", i);
    const std::string value_name = fmt::format("curve.{}.{}", i, number);
    double bytes = 0, value = 0;
    for (const ArmNumbers& arm : arms) {
      const auto b = arm.find(bytes_name);
      const auto v = arm.find(value_name);
      if (b == arm.end() || v == arm.end()) return points;
      bytes += b->second / static_cast<double>(arms.size());
      value += v->second / static_cast<double>(arms.size());
    }
    points.emplace_back(bytes, value);
  }
}

}  // namespace laconic
