// What tests of federated training share: clients whose examples pull to points of their own, settings for
// them, and one client whose gradient is its point.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "methods/gradients/federated/federated_training.h"
#include "methods/gradients/gradient_method.h"
#include "tests/methods/example_task.h"

namespace laconic {

// f_e(x) = 1/2 sum h_e (x - t_e)^2: each example pulls to a point of its own.
class Pulls : public ExampleTask {
 public:
  static constexpr std::size_t width = 12;

  // Example `broken` has a gradient that is not finite; -1: none has.
  explicit Pulls(std::int64_t count, std::int64_t broken = -1)
      : ExampleTask("pulls", {{"first", {2, 4}, 0, 8}, {"second.bias", {4}, 8, 4}}, count, 0.25f),
        broken_(broken) {
    RandomStream random(3, "pulls", "points");
    for (std::size_t i = 0; i < static_cast<std::size_t>(count) * width; ++i) {
      targets_.push_back(1 + 2 * random.gaussian());
      curvature_.push_back(0.2f + random.uniform());
    }
  }
  double add_example(std::span<const float> point, std::int64_t example, float batch,
                     std::span<float> gradient) const override {
    double loss = 0;
    for (std::size_t j = 0; j < width; ++j) {
      const std::size_t at = static_cast<std::size_t>(example) * width + j;
      const float distance = point[j] - targets_[at];
      gradient[j] += curvature_[at] * distance / batch;
      loss += 0.5 * curvature_[at] * distance * distance / batch;
    }
    if (example == broken_) gradient[9] = std::numeric_limits<float>::quiet_NaN();
    return loss;
  }

 private:
  std::int64_t broken_;
  std::vector<float> targets_, curvature_;
};

// Runs of `each` examples.
inline std::vector<std::vector<std::int64_t>> dealt(int clients, std::int64_t each) {
  std::vector<std::vector<std::int64_t>> examples(static_cast<std::size_t>(clients));
  for (std::int64_t i = 0; i < clients * each; ++i) examples[static_cast<std::size_t>(i / each)].push_back(i);
  return examples;
}

inline FederatedSettings settings_of(
    const std::string& slug, const std::vector<std::pair<std::string, std::string>>& parameters = {}) {
  const MethodDescription& method = method_named(slug);
  FederatedSettings settings;
  settings.algorithm = method.federated;
  settings.parameters = Parameters(method.parameters);
  for (const auto& [name, value] : parameters) settings.parameters.set(name, value);
  settings.examples_of = dealt(8, 5);
  settings.participants = 3;
  settings.rounds = 20;
  settings.local_steps = 4;
  settings.batch = 2;
  settings.local_rate = 0.1;
  return settings;
}

inline std::filesystem::path federated_folder(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-federated-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

// grad f(x) = x, one client, one step: the card's worked rounds.
class IdentityGradient final : public LocalTraining {
 public:
  explicit IdentityGradient(float rate) : rate_(rate) {}
  std::int64_t examples() const override { return 1; }
  double run(std::span<float> point, std::span<const float> correction, std::span<float> mean) override {
    for (std::size_t j = 0; j < point.size(); ++j) {
      const float g = point[j];
      if (!mean.empty()) mean[j] = g;
      point[j] -= rate_ * (g + (correction.empty() ? 0.0f : correction[j]));
    }
    last.assign(point.begin(), point.end());
    return 0;
  }
  std::vector<float> last;

 private:
  float rate_;
};

inline FederatedRequest two_numbers() {
  FederatedRequest request;
  request.tensors = {{"x", {2}, 0, 2}};
  request.initial = {1, 2};
  request.local_steps = 1;
  request.local_rate = 0.5;
  return request;
}

}  // namespace laconic
