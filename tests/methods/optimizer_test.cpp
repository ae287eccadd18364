// Optimizers and learning rates by numbers worked out by hand.
#include "methods/gradients/training/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "methods/gradients/training/rate_schedule.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

// A matrix of two numbers and a vector of one.
std::vector<TensorSlice> matrix_and_vector() { return {{"matrix", {1, 2}, 0, 2}, {"vector", {1}, 2, 1}}; }

OptimizerSettings sgd(double momentum, bool nesterov = false, double decay = 0) {
  OptimizerSettings settings;
  settings.momentum = momentum;
  settings.nesterov = nesterov;
  settings.weight_decay = decay;
  return settings;
}

OptimizerSettings adam() {
  OptimizerSettings settings;
  settings.kind = OptimizerSettings::Kind::adam;
  settings.beta2 = 0.99;
  return settings;
}

// The last number after each step from `start`, all gradients being `gradient`.
std::vector<float> path_of(Optimizer& optimizer, float start, float gradient, int steps) {
  std::vector<float> x(3, start), path;
  for (int step = 0; step < steps; ++step) {
    optimizer.apply(std::vector<float>(3, gradient), x, 0.1);
    path.push_back(x.back());
  }
  return path;
}

TEST(Optimizer, MomentumAddsUpAndNesterovLooksAhead) {
  const float near = 1e-6f;
  EXPECT_THAT(path_of(*make_optimizer(sgd(0), matrix_and_vector()), 0, 1, 2),
              ElementsAre(FloatNear(-0.1f, near), FloatNear(-0.2f, near)));
  // Buffers 1, 1.5, 1.75.
  EXPECT_THAT(path_of(*make_optimizer(sgd(0.5), matrix_and_vector()), 0, 1, 3),
              ElementsAre(FloatNear(-0.1f, near), FloatNear(-0.25f, near), FloatNear(-0.425f, near)));
  // Moves 1 + half of them.
  EXPECT_THAT(path_of(*make_optimizer(sgd(0.5, true), matrix_and_vector()), 0, 1, 3),
              ElementsAre(FloatNear(-0.15f, near), FloatNear(-0.325f, near), FloatNear(-0.5125f, near)));
}

TEST(Optimizer, DecayHasMomentumOfItsOwnAndSparesVectors) {
  const auto optimizer = make_optimizer(sgd(0.5, false, 0.1), matrix_and_vector());
  std::vector<float> x(3, 1.0f);
  const std::vector<float> none(3, 0.0f);
  optimizer->apply(none, x, 0.1);
  EXPECT_NEAR(x[0], 0.99, 1e-6);
  optimizer->apply(none, x, 0.1);
  EXPECT_NEAR(x[1], 0.99 - 0.1 * (0.05 + 0.099), 1e-6);
  EXPECT_EQ(x[2], 1.0f);
}

TEST(Optimizer, TensorsWithCorrectedMomentumMoveByWhatIsAgreed) {
  const auto optimizer = make_momentum_corrected_sgd(sgd(0.5), matrix_and_vector(), {true, false});
  std::vector<float> x(3, 0.0f);
  for (int step = 0; step < 2; ++step) optimizer->apply(std::vector<float>(3, 1.0f), x, 0.1);
  EXPECT_NEAR(x[0], -0.2, 1e-6);
  EXPECT_NEAR(x[2], -0.25, 1e-6);
  EXPECT_NE(optimizer->text(), make_optimizer(sgd(0.5), matrix_and_vector())->text());
  EXPECT_THROW(make_momentum_corrected_sgd(adam(), matrix_and_vector(), {true, false}), Error);
  EXPECT_THROW(make_momentum_corrected_sgd(sgd(0.5), matrix_and_vector(), {true}), Error);
}

TEST(Optimizer, AdamMovesByTheRateAndForgetsSizes) {
  const auto optimizer = make_optimizer(adam(), matrix_and_vector());
  std::vector<float> x(3, 0.0f);
  optimizer->apply(std::vector<float>{1, 1000, -0.001f}, x, 0.01);
  EXPECT_THAT(x, ElementsAre(FloatNear(-0.01f, 1e-6f), FloatNear(-0.01f, 1e-6f), FloatNear(0.01f, 1e-6f)));
  // m = 0.09 - 0.1, over 1 - 0.81; v = 0.0199, over 1 - 0.9801.
  optimizer->apply(std::vector<float>{-1, 1000, -0.001f}, x, 0.01);
  EXPECT_NEAR(x[0], -0.01 + 0.01 * 0.01 / 0.19, 1e-6);
  EXPECT_NEAR(x[1], -0.02, 1e-6);
}

TEST(Optimizer, AdamWithoutCorrectionAndWithDecay) {
  OptimizerSettings settings = adam();
  settings.beta2 = 0.9999;
  settings.bias_correction = false;
  settings.weight_decay = 0.1;
  const auto optimizer = make_optimizer(settings, matrix_and_vector());
  std::vector<float> x = {2, 2, 2};
  // 0.1 g / sqrt(0.0001 g^2) = 10.
  optimizer->apply(std::vector<float>{0, 5, 5}, x, 0.01);
  EXPECT_THAT(x, ElementsAre(FloatNear(1.998f, 1e-5f), FloatNear(1.898f, 1e-5f), FloatNear(1.9f, 1e-5f)));
}

TEST(Optimizer, RmspropDividesByTheRootOfItsMean) {
  // v = 0.4, then 0.76: moves 2 / sqrt(v) of the rate 0.1.
  const float first = static_cast<float>(-0.2 / std::sqrt(0.4));
  EXPECT_THAT(path_of(*make_optimizer(rmsprop_settings(), matrix_and_vector()), 0, 2, 2),
              ElementsAre(FloatNear(first, 1e-6f),
                          FloatNear(static_cast<float>(first - 0.2 / std::sqrt(0.76)), 1e-6f)));
}

TEST(Optimizer, AStateGoesOnAndThatOfAnotherIsRefused) {
  for (const OptimizerSettings& settings : {sgd(0.5, true, 0.1), adam()}) {
    const auto optimizer = make_optimizer(settings, matrix_and_vector()),
               other = make_optimizer(settings, matrix_and_vector());
    std::vector<float> x = {1, 2, 3}, y;
    for (int step = 0; step < 3; ++step) optimizer->apply(std::vector<float>{0.1f, -1, 2}, x, 0.1);
    Bytes bytes = optimizer->save();
    other->restore(bytes, "test");
    EXPECT_EQ(other->save(), bytes);
    y = x;
    optimizer->apply(std::vector<float>{1, 1, 1}, x, 0.1);
    other->apply(std::vector<float>{1, 1, 1}, y, 0.1);
    EXPECT_EQ(x, y);
    try {
      make_optimizer(sgd(0.25), matrix_and_vector())->restore(bytes, "test");
      FAIL() << "of another optimizer";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
    }
    EXPECT_THROW(make_optimizer(settings, {{"x", {1, 5}, 0, 5}})->restore(bytes, "test"), Error);
    bytes[bytes.size() / 2] ^= std::byte{1};
    EXPECT_THROW(other->restore(bytes, "test"), Error);
    EXPECT_THROW(optimizer->apply(std::vector<float>{1, 1}, x, 0.1), Error);
  }
}

TEST(Optimizer, RefusesWhatMakesNoSense) {
  OptimizerSettings settings;
  settings.momentum = 1;
  EXPECT_THROW(make_optimizer(settings, matrix_and_vector()), Error);
  settings = {};
  settings.weight_decay = -1;
  EXPECT_THROW(make_optimizer(settings, matrix_and_vector()), Error);
  settings = adam();
  settings.beta2 = std::nan("");
  EXPECT_THROW(make_optimizer(settings, matrix_and_vector()), Error);
}

TEST(RateSchedule, WarmsUpThenFollowsItsKind) {
  RateSchedule schedule;
  schedule.rate = 0.4;
  schedule.warmup = 4;
  for (const int step : {1, 2, 3, 4}) EXPECT_DOUBLE_EQ(schedule.at(step), 0.1 * step);
  EXPECT_EQ(schedule.at(1000), 0.4);
  schedule.kind = RateSchedule::Kind::cosine;
  schedule.final_share = 0.1;
  schedule.steps = 12;
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.4);
  EXPECT_NEAR(schedule.at(6), 0.4 * (0.1 + 0.45 * (1 + std::sqrt(0.5))), 1e-12);
  EXPECT_NEAR(schedule.at(8), 0.22, 1e-12);
  EXPECT_NEAR(schedule.at(12), 0.04, 1e-12);
  EXPECT_NEAR(schedule.at(20), 0.04, 1e-12);
  schedule.kind = RateSchedule::Kind::steps;
  schedule.falls = {10, 20};
  schedule.fall = 0.5;
  EXPECT_DOUBLE_EQ(schedule.at(10), 0.4);
  EXPECT_DOUBLE_EQ(schedule.at(11), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(21), 0.1);
  EXPECT_EQ(schedule.text(), "rate 0.4 warm-up 4 times 0.5 after 10,20");
}

}  // namespace
}  // namespace laconic
