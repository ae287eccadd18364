// Attacked inputs stay where they may be and hurt; attacked gradients equal differences of the attacked loss;
// tasks as oracles of distributed algorithms; compressed extragradient on minibatches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>
#include <set>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/gradients/exact_channels.h"
#include "methods/gradients/extragradient.h"
#include "methods/gradients/tasks/input_attack.h"
#include "methods/gradients/tasks/task_oracle.h"

namespace laconic {
namespace {

using testing::HasSubstr;

std::unique_ptr<TrainingTask> attacked_task(const std::string& dataset, const std::string& model,
                                            std::map<std::string, double> options) {
  TaskRequest request;
  request.dataset = dataset;
  request.model = model;
  request.options = std::move(options);
  request.seed = 3;
  return make_training_task(request);
}

std::vector<std::int64_t> first_rows(std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rows;
}

std::vector<float> disturbed_start(const TrainingTask& task) {
  std::vector<float> point = task.initial(5);
  RandomStream random(9, "adversarial training test", "point");
  for (float& value : point) value += 0.05f * random.gaussian();
  return point;
}

ImageExamples grey_picture() {
  ImageExamples images;
  images.channels = 1;
  images.height = 1;
  images.width = 4;
  images.classes = 2;
  images.pixels = {0, 51, 204, 255};
  images.labels = {0};
  return images;
}

// Black and white are -mean and 255 - mean here; the radius is a tenth of the way between them.
TEST(InputAttack, StaysInTheBallAndBetweenBlackAndWhite) {
  const PictureRows rows(grey_picture(), {{100.0f}, {0.5f}});
  AttackSettings settings;
  settings.radius = 0.1;
  settings.steps = 3;
  settings.rate = 0.04;
  InputAttack attack(settings, rows);
  std::vector<float> inputs(4);
  rows.gather(0, inputs);
  int asked = 0;
  attack.find(inputs, [&](std::span<const float>, std::span<float> gradient) {
    ++asked;
    gradient[0] = -2;
    gradient[1] = 3;
    gradient[2] = asked == 1 ? -1.0f : 1.0f;
    gradient[3] = 0;
  });
  EXPECT_EQ(asked, 3);
  EXPECT_FLOAT_EQ(inputs[0], -50);                          // black already
  EXPECT_FLOAT_EQ(inputs[1], (51 - 100) * 0.5f + 12.75f);   // three steps of 5.1, cut at 12.75
  EXPECT_NEAR(inputs[2], (204 - 100) * 0.5f + 5.1f, 1e-4);  // back and twice on
  EXPECT_FLOAT_EQ(inputs[3], 77.5f);                        // nothing to gain
}

TEST(InputAttack, GradientsAreThoseOfTheAttackedLoss) {
  for (const auto& [model, layers] : {std::pair{"softmax", 0}, std::pair{"mlp", 1}, std::pair{"mlp", 3}}) {
    std::map<std::string, double> options = {{"attack-radius", 0.1}, {"attack-steps", 4}};
    std::map<std::string, double> plain;
    if (layers > 0) {
      options["width"] = plain["width"] = 16;
      options["layers"] = plain["layers"] = layers;
    }
    const auto task = attacked_task("synthetic-classes", model, options);
    const auto clean = attacked_task("synthetic-classes", model, plain);
    ASSERT_EQ(layout_text(task->parameters()), layout_text(clean->parameters()));
    const std::vector<float> point = disturbed_start(*task);
    const std::vector<std::int64_t> examples = first_rows(6);
    std::vector<float> gradient(point.size()), ignored(point.size());
    const auto replica = task->replica();
    const double loss = replica->gradient(point, examples, gradient);
    EXPECT_GT(loss, 1.02 * clean->replica()->gradient(point, examples, ignored));
    double square = 0;
    for (const float value : gradient) square += static_cast<double>(value) * value;
    const double length = std::sqrt(square);
    // Signs that change, and rectifiers, are kinks: of several steps the best is right.
    double nearest = 1e30;
    for (const double step : {4e-3, 1e-3, 2.5e-4}) {
      std::vector<float> ahead = point, behind = point;
      for (std::size_t j = 0; j < point.size(); ++j) {
        ahead[j] += static_cast<float>(step * gradient[j] / length);
        behind[j] -= static_cast<float>(step * gradient[j] / length);
      }
      const double difference =
          (replica->gradient(ahead, examples, ignored) - replica->gradient(behind, examples, ignored)) /
          (2 * step);
      if (std::abs(difference - length) < std::abs(nearest - length)) nearest = difference;
    }
    EXPECT_NEAR(nearest, length, 0.02 * length) << model << " " << layers;
    const Evaluation attacked = replica->evaluate(point, 200),
                     held_out = clean->replica()->evaluate(point, 200);
    EXPECT_GT(attacked.loss, held_out.loss);
    EXPECT_LE(attacked.accuracy.value(), held_out.accuracy.value());
    EXPECT_EQ(attacked.clean_accuracy, held_out.accuracy) << "what it would be without the attack";
    EXPECT_FALSE(held_out.clean_accuracy.has_value());
  }
}

TEST(InputAttack, ItsOptionsDecideTheTextAndAreChecked) {
  const auto task = attacked_task("synthetic-classes", "mlp", {{"attack-radius", 0.1}, {"attack-steps", 5}});
  EXPECT_THAT(task->text(), HasSubstr("attack-radius=0.1 attack-steps=5 attack-rate=0.05"));
  EXPECT_THAT(attacked_task("synthetic-classes", "mlp", {})->text(), testing::Not(HasSubstr("attack")));
  EXPECT_THROW(attacked_task("synthetic-classes", "mlp", {{"attack-steps", 5}}), Error);
  EXPECT_THROW(attacked_task("synthetic-classes", "mlp", {{"attack-radius", -1}}), Error);
  EXPECT_THROW(attacked_task("synthetic-classes", "mlp", {{"attack-radius", 1}, {"attack-steps", 0.5}}),
               Error);
}

TEST(TaskOracle, IsTheTasksGradient) {
  const auto task = attacked_task("synthetic-classes", "mlp", {{"width", 8}, {"attack-radius", 0.05}});
  Partition examples = {first_rows(100), {5, 7, 9}};
  const TaskOracle oracle(*task, examples, 8, 4);
  const std::vector<float> point = disturbed_start(*task);
  const std::vector<double> wide(point.begin(), point.end());
  ASSERT_EQ(oracle.dimension(), point.size());
  ASSERT_EQ(oracle.workers(), 2);
  std::vector<double> vector(wide.size()), again(wide.size());
  std::vector<float> gradient(point.size());
  oracle.evaluate(wide, 1, all_samples, vector);
  task->replica()->gradient(point, examples[1], gradient);
  for (std::size_t j = 0; j < gradient.size(); ++j)
    ASSERT_EQ(static_cast<float>(vector[j]), gradient[j]) << j;
  // More examples than a part takes.
  oracle.evaluate(wide, 0, all_samples, vector);
  task->replica()->gradient(point, examples[0], gradient);
  for (std::size_t j = 0; j < gradient.size(); ++j)
    ASSERT_NEAR(vector[j], static_cast<double>(gradient[j]), 1e-5) << j;
  // A sample has a name.
  oracle.evaluate(wide, 0, 3, vector);
  oracle.evaluate(wide, 0, 3, again);
  EXPECT_EQ(vector, again);
  oracle.evaluate(wide, 0, 4, again);
  EXPECT_NE(vector, again);
  EXPECT_THROW(TaskOracle(*task, {{}, {1}}, 8, 4), Error);
  EXPECT_THROW(TaskOracle(*task, {{1}}, 0, 4), Error);
}

// With all of the data as every sample, a sampled step is the one without samples.
class SampledOracle : public Oracle {
 public:
  std::size_t dimension() const override { return 2; }
  int workers() const override { return 2; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override {
    const double noise = sample == all_samples ? 0 : 0.25 * std::sin(static_cast<double>(sample));
    vector[0] = point[1] + 0.5 * point[0] + (worker == 0 ? 1 : -1) + noise;
    vector[1] = -point[0] + 0.5 * point[1] + noise;
  }
};

TEST(Masha, NoiseThatIsTheSameAtBothPointsCancels) {
  const SampledOracle oracle;
  const auto workers = local_workers(2);
  const auto channel = codec_channel("raw", 1, "up");
  ExtragradientSettings settings;
  settings.step = 0.3;
  settings.tau = 0.8;
  settings.sampled = settings.whole_in_f32 = true;
  Extragradient loop(oracle, *workers, *channel, nullptr, settings, {4, -3});
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(loop.step());
  EXPECT_NEAR(loop.point()[0], 0, 1e-6);
  EXPECT_NEAR(loop.point()[1], 0, 1e-6);
  // Messages of two numbers and a frame; whole ones are in f32 too.
  EXPECT_GT(loop.refreshes(), 40u);
  const Bytes saved = loop.save();
  settings.sampled = false;
  Extragradient other(oracle, *workers, *channel, nullptr, settings, {4, -3});
  EXPECT_THROW(other.restore(saved, "state"), Error);
}

// F(z) = z plus a noise of the sample; keeps the samples that were asked for.
class NotedOracle : public Oracle {
 public:
  static double noise(std::uint64_t sample) { return std::sin(static_cast<double>(sample % 1009)); }
  std::size_t dimension() const override { return 1; }
  int workers() const override { return 2; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override {
    vector[0] = point[0] + noise(sample);
    const std::lock_guard lock(mutex_);
    if (worker == 0) asked.push_back(sample);
  }
  mutable std::vector<std::uint64_t> asked;

 private:
  mutable std::mutex mutex_;
};

// The reference is the mean over its samples, and the step the card's with that mean for F(w).
TEST(Masha, AReferenceOfSamplesIsTheirMeanAndDrawnAnew) {
  const NotedOracle oracle;
  const auto workers = local_workers(2);
  const auto channel = exact_channel();
  ExtragradientSettings settings;
  settings.step = 0.5;
  settings.tau = 0;  // a refresh after every step
  settings.sampled = true;
  settings.reference_samples = 3;
  Extragradient loop(oracle, *workers, *channel, nullptr, settings, {1.0});
  double z = 1;
  std::set<std::uint64_t> of_references;
  for (std::uint64_t step = 1; step <= 4; ++step) {
    ASSERT_TRUE(loop.step());
    // First 3 of a reference (of the start, or of the step before), then one sample at both points.
    const std::size_t first = (step - 1) * 5;
    double mean = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t sample = oracle.asked.at(first + i);
      EXPECT_NE(sample, all_samples);
      EXPECT_TRUE(of_references.insert(sample).second) << "drawn before";
      mean += NotedOracle::noise(sample) / 3;
    }
    EXPECT_EQ(oracle.asked.at(first + 3), step);
    EXPECT_EQ(oracle.asked.at(first + 4), step);
    const double at_w = z + mean, half = z - 0.5 * at_w;
    z = half - 0.5 * (half - z);
    EXPECT_NEAR(loop.point()[0], z, 1e-12) << step;
  }
  const Bytes saved = loop.save();
  settings.reference_samples = 4;
  Extragradient other(oracle, *workers, *channel, nullptr, settings, {1.0});
  EXPECT_THROW(other.restore(saved, "state"), Error);
  settings.reference_samples = -1;
  EXPECT_THROW(Extragradient(oracle, *workers, *channel, nullptr, settings, {1.0}), Error);
  settings.reference_samples = 3;
  settings.sampled = false;
  EXPECT_THROW(Extragradient(oracle, *workers, *channel, nullptr, settings, {1.0}), Error);
}

}  // namespace
}  // namespace laconic
