#include "methods/gradients/federated/federated_trial.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

constexpr double loss_of_divergence = 1e30;

FederatedArm with_choice(const FederatedArm& arm, double local_rate, double server_rate,
                         const FederatedParameters& variant) {
  FederatedArm chosen = arm;
  chosen.parameters.insert(chosen.parameters.end(), variant.begin(), variant.end());
  chosen.adapt = [own = arm.adapt, local_rate, server_rate](FederatedSettings& settings) {
    if (own) own(settings);
    settings.local_rate = local_rate;
    settings.server_rate = server_rate;
  };
  return chosen;
}

}  // namespace

FederatedTrial::FederatedTrial(ArmCache& cache, const TrainingTask& task, FederatedSettings settings)
    : cache_(cache), task_(task), settings_(std::move(settings)) {}

FederatedSettings FederatedTrial::settings_of(const FederatedArm& arm, std::uint64_t seed) const {
  const MethodDescription& method = method_named(arm.method);
  require(method.federated != nullptr, "an arm names a federated method");
  FederatedSettings settings = settings_;
  settings.algorithm = method.federated;
  settings.parameters = Parameters(method.parameters);
  for (const auto& [name, value] : arm.parameters) settings.parameters.set(name, value);
  settings.seed = seed;
  if (arm.adapt) arm.adapt(settings);
  return settings;
}

std::string FederatedTrial::key_of(const FederatedArm& arm, const FederatedSettings& settings) const {
  return fmt::format(
      "federated {}\ntask {}\npartition {}\n{} a round, {} rounds\n{} steps of {}, rates {} {}{}\n"
      "evaluate every {}, {}\nseed {}",
      settings_text(arm.method, settings.parameters), task_.text(), partition_hash(settings.examples_of),
      settings.participants, settings.rounds, settings.local_steps, settings.batch, settings.local_rate,
      settings.server_rate, settings.local_optimizer ? ", " + settings.local_optimizer->text() : "",
      settings.evaluate_every, settings.evaluate_limit, settings.seed);
}

ArmNumbers FederatedTrial::compute(const FederatedSettings& settings) const {
  ArmNumbers numbers;
  FederatedResult result;
  try {
    result = train_clients(task_, settings);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::input) throw;
    numbers = {{"diverged", 1.0}, {"loss", loss_of_divergence}, {"tail", loss_of_divergence},
               {"bytes_up", 0.0}, {"bytes_down", 0.0},          {"rounds", 0.0},
               {"seconds", 0.0}};
    return numbers;
  }
  const Evaluation& last = *result.evaluations.back().held_out;
  numbers["diverged"] = 0;
  numbers["loss"] = std::min(last.loss, loss_of_divergence);
  if (last.accuracy) numbers["accuracy"] = *last.accuracy;
  numbers["bytes_up"] = static_cast<double>(result.bytes_up);
  numbers["bytes_down"] = static_cast<double>(result.bytes_down);
  numbers["rounds"] = static_cast<double>(result.rounds);
  numbers["seconds"] = result.seconds;
  const std::size_t count = result.evaluations.size(), tail = std::max<std::size_t>(1, count / 10);
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const RoundRecord& record = result.evaluations[i];
    if (i + tail >= count) sum += std::min(record.held_out->loss, loss_of_divergence);
    const std::string name = fmt::format("curve.{}.", i);
    numbers[name + "round"] = static_cast<double>(record.round);
    numbers[name + "bytes"] = static_cast<double>(record.total_bytes_up);
    numbers[name + "loss"] = std::min(record.held_out->loss, loss_of_divergence);
    if (record.held_out->accuracy) numbers[name + "accuracy"] = *record.held_out->accuracy;
  }
  numbers["tail"] = sum / static_cast<double>(tail);
  return numbers;
}

ArmNumbers FederatedTrial::run(const FederatedArm& arm, std::uint64_t seed) {
  const FederatedSettings settings = settings_of(arm, seed);
  return cache_.arm(fmt::format("{}, seed {}", arm.name, seed), key_of(arm, settings),
                    [&] { return compute(settings); });
}

std::vector<ArmNumbers> FederatedTrial::run(const FederatedArm& arm,
                                            const std::vector<std::uint64_t>& seeds) {
  std::vector<ArmNumbers> arms;
  for (const std::uint64_t seed : seeds) arms.push_back(run(arm, seed));
  return arms;
}

std::vector<ArmNumbers> FederatedTrial::tuned(const FederatedArm& arm, const FederatedGrid& grid,
                                              const std::vector<std::uint64_t>& seeds) {
  struct Choice {
    double local_rate = 0, server_rate = 0;
    std::size_t variant = 0;
  };
  std::vector<Choice> choices;
  for (std::size_t variant = 0; variant < grid.variants.size(); ++variant) {
    for (const double local_rate : grid.local_rates) {
      for (const double server_rate : grid.server_rates)
        choices.push_back({local_rate, server_rate, variant});
    }
  }
  const auto arm_of = [&](const Choice& choice) {
    return with_choice(arm, choice.local_rate, choice.server_rate, grid.variants[choice.variant]);
  };
  const auto search_settings = [&](const Choice& choice) {
    FederatedSettings settings = settings_of(arm_of(choice), seeds.front());
    if (grid.rounds > 0) {
      settings.rounds = grid.rounds;
      settings.evaluate_every = std::max<std::int64_t>(1, grid.rounds / 10);
    }
    return settings;
  };
  std::string key = "federated grid";
  for (const Choice& choice : choices) key += "\n" + key_of(arm_of(choice), search_settings(choice));
  // Combinations run beside each other, each with the bits that it would have alone.
  const ArmNumbers best = cache_.arm(fmt::format("{}, best of {}", arm.name, choices.size()), key, [&] {
    std::vector<double> tails(choices.size());
    parallel_for(static_cast<std::int64_t>(choices.size()), [&](std::int64_t i) {
      const auto index = static_cast<std::size_t>(i);
      throw_if_interrupted();
      tails[index] = compute(search_settings(choices[index])).at("tail");
    });
    const auto least = std::min_element(tails.begin(), tails.end()) - tails.begin();
    return ArmNumbers{{"choice", static_cast<double>(least)}};
  });
  const Choice choice = choices.at(static_cast<std::size_t>(best.at("choice")));
  std::vector<ArmNumbers> arms = run(arm_of(choice), seeds);
  for (ArmNumbers& numbers : arms) {
    numbers["local_rate"] = choice.local_rate;
    numbers["server_rate"] = choice.server_rate;
    numbers["variant"] = static_cast<double>(choice.variant);
    numbers["grid"] = static_cast<double>(choices.size());
  }
  return arms;
}

}  // namespace laconic
