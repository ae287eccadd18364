// Smoothness of a rank's loss by differences of gradients, and training that weighs its ranks by it.
#include "methods/gradients/training/measured_smoothness.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/trainer.h"
#include "tests/methods/example_task.h"

namespace laconic {
namespace {

// 1/2 s (x_0^2 + 1/4 x_1^2 + ... ) less a term in x_0: example i is s_i smooth.
class BowlsTask : public ExampleTask {
 public:
  explicit BowlsTask(std::vector<float> smoothness)
      : ExampleTask("bowls", {{"w", {5}, 0, 5}}, static_cast<std::int64_t>(smoothness.size()), 0.7f),
        smoothness_(std::move(smoothness)) {}
  double add_example(std::span<const float> point, std::int64_t example, float batch,
                     std::span<float> gradient) const override {
    const float scale = smoothness_[static_cast<std::size_t>(example)] / batch;
    double loss = -0.1 * scale * point[0];
    gradient[0] -= 0.1f * scale;
    for (std::size_t j = 0; j < point.size(); ++j) {
      const float curvature = scale / static_cast<float>((j + 1) * (j + 1));
      loss += 0.5 * curvature * point[j] * point[j];
      gradient[j] += curvature * point[j];
    }
    return loss;
  }

 private:
  std::vector<float> smoothness_;
};

TEST(MeasuredSmoothness, OfBowlsIsTheirCurvature) {
  const BowlsTask task({1, 3, 8, 0});
  const auto replica = task.replica();
  const std::vector<float> point = task.initial(1);
  const auto measured = [&](const std::vector<std::int64_t>& examples) {
    return measured_smoothness(*replica, point, examples);
  };
  EXPECT_NEAR(measured({0}), 1, 0.02);
  EXPECT_NEAR(measured({0, 1}), 2, 0.04);
  EXPECT_NEAR(measured({2}), 8, 0.16);
  EXPECT_EQ(measured({3}), 0) << "flat";
  EXPECT_THROW(
      measured_smoothness(*BowlsTask({std::nanf("")}).replica(), point, std::vector<std::int64_t>{0}), Error);
}

TEST(MeasuredSmoothness, WeighsTheRanksOfARun) {
  const BowlsTask task({1, 1, 4, 4});
  const auto trained = [&](const std::string& smoothness, std::string& said) {
    const ExchangeCandidate candidate =
        exchange_by_name("ef21-weighted", {{"fraction", "0.4"}, {"smoothness", smoothness}});
    TrainingSettings settings;
    settings.exchange = candidate.exchange;
    settings.parameters = candidate.parameters;
    settings.examples_of = {{0, 1}, {2, 3}};
    settings.batch = 2;
    settings.steps = 40;
    settings.rate.rate = 0.1;
    TrainingListener listener;
    listener.message = [&](std::string_view text) { said += std::string(text) + "\n"; };
    return train_on_threads(task, settings, 2, listener);
  };
  std::string given, measured, equal;
  const TrainingResult known = trained("1_4", given), found = trained("measured", measured),
                       same = trained("equal", equal);
  EXPECT_EQ(measured, "smoothness of the workers' losses: 1, 4\n");
  EXPECT_EQ(given + equal, "");
  // Top-k is homogeneous: weights change the order in which numbers are added, and nothing else.
  for (std::size_t j = 0; j < 5; ++j) {
    EXPECT_NEAR(found.final_parameters[j], known.final_parameters[j], 1e-4);
    EXPECT_NEAR(found.final_parameters[j], same.final_parameters[j], 1e-4);
  }
  EXPECT_NE(found.exchange, same.exchange) << "weights are in its text";
  EXPECT_LT(found.evaluations.back().held_out.loss, task.replica()->evaluate(task.initial(1), 0).loss / 5);
}

}  // namespace
}  // namespace laconic
