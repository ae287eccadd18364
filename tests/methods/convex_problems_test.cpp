// Problems of methods/gradients/problems: gradients are those of the values, constants hold.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/random_fill.h"
#include "engine/math/top_k.h"
#include "methods/gradients/ef21-weighted/step_sizes.h"
#include "methods/gradients/problems/bilinear_saddle.h"
#include "methods/gradients/problems/logistic_clients.h"
#include "methods/gradients/problems/rank_one_quadratics.h"
#include "methods/gradients/problems/robust_logistic.h"
#include "methods/gradients/problems/scaled_quadratics.h"
#include "methods/gradients/problems/tuned_arm.h"

namespace laconic {
namespace {

SparseExamples sparse_examples(std::int64_t rows) {
  SparseExamples examples;
  examples.columns = 6;
  const RandomStream random(1, "test", "examples");
  for (std::int64_t i = 0; i < rows; ++i) {
    std::vector<std::uint32_t> columns;
    std::vector<float> values;
    for (std::uint32_t j = 0; j < 6; ++j) {
      const auto at = static_cast<std::uint64_t>(i) * 12 + 2 * j;
      if (random.uniform_at(at) > 0.6f) continue;
      columns.push_back(j);
      values.push_back(random.gaussian_at(at + 1));
    }
    examples.append(random.uniform_at(100000 + static_cast<std::uint64_t>(i)) < 0.5f ? -1.0f : 1.0f, columns,
                    values);
  }
  return examples;
}

std::vector<double> mean_gradient(const Oracle& oracle, const std::vector<double>& point) {
  std::vector<double> mean(point.size()), own(point.size());
  for (int i = 0; i < oracle.workers(); ++i) {
    oracle.evaluate(point, i, 0, own);
    for (std::size_t j = 0; j < own.size(); ++j) mean[j] += own[j] / oracle.workers();
  }
  return mean;
}

TEST(ConvexProblems, LogisticGradientsAreThoseOfTheValue) {
  const SparseExamples examples = sparse_examples(40);
  for (const auto regulariser : {Regulariser::l2, Regulariser::saturating}) {
    LogisticClientsSettings settings;
    settings.regulariser = regulariser;
    settings.lambda = 0.1;
    settings.clients = 3;
    const LogisticClients problem(examples, settings);
    std::vector<double> x = {0.3, -1, 2, 0.1, -0.5, 1};
    const std::vector<double> gradient = mean_gradient(problem, x);
    double square = 0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double here = x[j];
      x[j] = here + 1e-5;
      const double above = problem.value(x);
      x[j] = here - 1e-5;
      const double below = problem.value(x);
      x[j] = here;
      EXPECT_NEAR(gradient[j], (above - below) / 2e-5, 1e-8);
      square += gradient[j] * gradient[j];
    }
    EXPECT_NEAR(problem.squared_gradient(x), square, 1e-12);
    EXPECT_LE(problem.smoothness(), arithmetic_mean(problem.worker_smoothness()) * 1.002);
  }
  LogisticClientsSettings convex;
  const LogisticClients problem(examples, convex);
  EXPECT_LT(problem.squared_gradient(problem.minimum()), 1e-20);
  convex.clients = 41;
  EXPECT_THROW(LogisticClients(examples, convex), Error);
}

TEST(ConvexProblems, MinibatchesAverageToTheGradientAndRepeat) {
  const SparseExamples examples = sparse_examples(30);
  LogisticClientsSettings settings;
  settings.clients = 2;
  const LogisticClients whole(examples, settings);
  settings.batch = 4;
  const LogisticClients sampled(examples, settings);
  const std::vector<double> x = {1, 0, -1, 0.5, 0, 0.2};
  std::vector<double> expected(6), own(6), again(6), mean(6);
  whole.evaluate(x, 1, 0, expected);
  constexpr int draws = 20000;
  for (int t = 0; t < draws; ++t) {
    sampled.evaluate(x, 1, static_cast<std::uint64_t>(t), own);
    for (std::size_t j = 0; j < 6; ++j) mean[j] += own[j] / draws;
  }
  sampled.evaluate(x, 1, draws - 1, again);
  EXPECT_EQ(own, again);
  for (std::size_t j = 0; j < 6; ++j) EXPECT_NEAR(mean[j], expected[j], 0.02);
}

TEST(ConvexProblems, ScaledQuadraticsVanishAtTheirOptimum) {
  ScaledQuadraticsSettings settings;
  settings.dimension = 20;
  settings.heterogeneity = 10;
  const ScaledQuadratics problem(settings);
  for (const double value : mean_gradient(problem, problem.optimum())) EXPECT_NEAR(value, 0, 1e-12);
  EXPECT_EQ(problem.gap(problem.optimum()), 0);
  // Noise: total standard deviation sigma.
  settings.noise = 3;
  const ScaledQuadratics noisy(settings);
  std::vector<double> exact(20), own(20);
  problem.evaluate(problem.optimum(), 2, 0, exact);
  double square = 0;
  for (std::uint64_t t = 0; t < 2000; ++t) {
    noisy.evaluate(problem.optimum(), 2, t, own);
    for (std::size_t j = 0; j < 20; ++j) square += (own[j] - exact[j]) * (own[j] - exact[j]) / 2000;
  }
  EXPECT_NEAR(std::sqrt(square), 3, 0.1);
}

TEST(ConvexProblems, RankOneQuadraticsKnowTheirConstants) {
  const RankOneQuadratics equal(10, 50, 0, 1), spread(10, 50, 2, 1);
  for (const double value : equal.worker_smoothness()) EXPECT_EQ(value, 1);
  EXPECT_GT(quadratic_mean(spread.worker_smoothness()), 1.5 * arithmetic_mean(spread.worker_smoothness()));
  const std::vector<double> x(10, 0.5);
  double square = 0;
  for (const double value : mean_gradient(spread, x)) square += value * value;
  EXPECT_NEAR(spread.squared_gradient(x), square, 1e-10 * square);
  EXPECT_GT(spread.gap(x), 0);
}

TEST(ConvexProblems, SaddlePointsAreZerosOfTheirOperators) {
  const BilinearSaddle bilinear(8, 4, 0.5, 3);
  for (const double value : mean_gradient(bilinear, bilinear.solution())) EXPECT_NEAR(value, 0, 1e-11);
  EXPECT_EQ(bilinear.distance(bilinear.solution()), 0);
  EXPECT_GE(bilinear.mean_lipschitz(), bilinear.lipschitz());

  const SparseExamples examples = sparse_examples(50);
  RobustLogisticSettings settings;
  settings.devices = 3;
  settings.radius = 100;  // inside: the operator vanishes
  const RobustLogistic robust(examples, examples.label, settings);
  const std::vector<double> z = robust.solve(0.5 / robust.lipschitz());
  for (const double value : mean_gradient(robust, z)) EXPECT_NEAR(value, 0, 1e-10);
  // The operator is the gradient in w and minus the gradient in delta of one function.
  const auto loss = [&](const std::vector<double>& at) {
    double sum = 0;
    // Device 0 has the first third of the rows sorted by label.
    std::vector<std::int64_t> order;
    for (const float label : {-1.0f, 1.0f}) {
      for (std::int64_t i = 0; i < 50; ++i) {
        if (examples.label[static_cast<std::size_t>(i)] == label) order.push_back(i);
      }
    }
    for (std::size_t i = 0; i < 16; ++i) {
      const std::int64_t index = order[i];
      double score = dot(examples.row(index), std::span<const double>(at));
      for (std::size_t j = 0; j < 6; ++j) score += at[j] * at[6 + j];
      sum += std::log1p(
                 std::exp(-static_cast<double>(examples.label[static_cast<std::size_t>(index)]) * score)) /
             16;
    }
    for (std::size_t j = 0; j < 6; ++j) {
      sum += settings.lambda / 2 * at[j] * at[j] - settings.beta / 2 * at[6 + j] * at[6 + j];
    }
    return sum;
  };
  std::vector<double> at = {0.5, -0.2, 1, 0.3, 0, -1, 0.1, 0.2, -0.3, 0.4, 0.1, -0.2}, own(12);
  robust.evaluate(at, 0, 0, own);
  for (std::size_t j = 0; j < 12; ++j) {
    const double here = at[j];
    at[j] = here + 1e-5;
    const double above = loss(at);
    at[j] = here - 1e-5;
    const double below = loss(at);
    at[j] = here;
    EXPECT_NEAR(own[j], (j < 6 ? 1 : -1) * (above - below) / 2e-5, 1e-8) << j;
  }
  std::vector<double> far(12, 1000.0);
  robust.project(far);
  double length = 0;
  for (std::size_t j = 6; j < 12; ++j) length += far[j] * far[j];
  EXPECT_NEAR(std::sqrt(length), 100, 1e-9);
  EXPECT_EQ(far[0], 1000);
}

// Card 04.
TEST(ConvexProblems, StepSizesOfEf21) {
  EXPECT_NEAR(ef21_xi(0.01), 198.498744, 1e-6);
  EXPECT_NEAR(ef21_xi(0.1), 18.486833, 1e-6);
  EXPECT_NEAR(ef21_xi(0.5), 2.414214, 1e-6);
  EXPECT_EQ(ef21_xi(1), 0);
  for (const double alpha : {0.01, 0.1, 0.5}) {
    const double root = std::sqrt(1 - alpha);
    EXPECT_NEAR(ef21_xi(alpha), std::sqrt((1 - alpha) / (1 - root) / (1 - root)), 1e-12 * ef21_xi(alpha));
  }
  EXPECT_EQ(smoothness_weights(std::vector<double>{4, 1}), (std::vector<double>{0.8, 0.2}));
  EXPECT_EQ(measured_weights(std::vector<double>{4, 1}), (std::vector<double>{0.8, 0.2}));
  // Kept within a tenth and ten times of the mean, here 1: 9.9 stays, 0.05 and 0 become 0.1.
  const std::vector<double> bounded =
      measured_weights(std::vector<double>{9.9, 0.05, 0, 0.05, 0, 0, 0, 0, 0, 0});
  EXPECT_NEAR(bounded[0], 9.9 / (9.9 + 9 * 0.1), 1e-12);
  EXPECT_NEAR(bounded[1], 0.1 / (9.9 + 9 * 0.1), 1e-12);
  EXPECT_EQ(bounded[1], bounded[9]);
  EXPECT_EQ(measured_weights(std::vector<double>{0, 0}), (std::vector<double>{0.5, 0.5}));
  EXPECT_THROW(measured_weights(std::vector<double>{1, std::nan("")}), Error);
  EXPECT_EQ(ef21_step(4, 2, 1), 0.25);
  EXPECT_THROW(smoothness_weights(std::vector<double>{4, 0}), Error);
  EXPECT_THROW(smoothness_weights(std::vector<double>{4, std::nan("")}), Error);
  EXPECT_THROW(ef21_xi(0), Error);
  EXPECT_THROW(ef21_step(1e308, 1e308, 0.5), Error);
}

TEST(ConvexProblems, DrawsAtOnceAreTheDrawsOfTheStream) {
  const RandomStream random(5, "test", "fill", 9, 3);
  std::vector<float> values(11);
  random_gaussians(random, values);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], random.gaussian_at(i));
}

TEST(ConvexProblems, TheBestSettingOfAGridIsKept) {
  const ArmNumbers arm = tuned_arm(steps_of({0.1, 0.2, 0.4}), [](const LoopSetting& setting) {
    LoopOutcome outcome;
    outcome.value = setting.step == 0.4 ? std::nan("") : std::abs(setting.step - 0.25);
    outcome.bytes = 7;
    outcome.curve = {{0, 1}, {7, outcome.value}};
    return outcome;
  });
  EXPECT_EQ(arm.at("step"), 0.2);
  EXPECT_EQ(arm.at("edge"), 0);
  EXPECT_EQ(arm.at("tried.002.value"), diverged_value);
  EXPECT_EQ(mean_curve({arm, arm}).size(), 2u);
}

}  // namespace
}  // namespace laconic
