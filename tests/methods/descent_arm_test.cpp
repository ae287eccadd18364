// Compressed descent as an arm: known contractions, what a budget of bytes buys, and divergence.
#include "methods/gradients/problems/descent_arm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "methods/gradients/exact_channels.h"
#include "methods/gradients/problems/scaled_quadratics.h"

namespace laconic {
namespace {

// Mean of 1/2 |x - b_i|^2 over two workers: a step of gamma takes (1 - gamma)^2 of the gap.
class DescentArmTest : public testing::Test {
 protected:
  static ScaledQuadraticsSettings two_workers() {
    ScaledQuadraticsSettings settings;
    settings.dimension = 4;
    settings.workers = 2;
    settings.equal_scales = true;
    settings.heterogeneity = 1;
    return settings;
  }
  LoopOutcome run(double step, const DescentBudget& budget, std::uint64_t gap_every = 1,
                  const FeedbackForm& form = {}) {
    DescentSettings settings;
    settings.step = step;
    settings.form = form;
    return run_descent(
        problem_, *channel_, settings, start_, budget,
        [&](std::span<const double> x) { return problem_.gap(x); }, gap_every);
  }

  const ScaledQuadratics problem_{two_workers()};
  std::vector<double> start_ = {3, -2, 1, 5};
  std::unique_ptr<Channel> channel_ = exact_channel();
};

TEST_F(DescentArmTest, TheValueIsTheMeanOfTheTail) {
  const double first = problem_.gap(start_);
  DescentBudget budget;
  budget.steps = 10;
  const LoopOutcome last = run(0.5, budget);
  EXPECT_NEAR(last.value / first, std::pow(0.25, 10), 1e-12);
  EXPECT_EQ(last.steps, 10);
  EXPECT_EQ(last.bytes, 10u * 2 * 4 * 8);
  ASSERT_EQ(last.curve.size(), 11u) << "the start and every step";
  EXPECT_EQ(last.curve[0].second, first);
  EXPECT_EQ(last.curve[3].first, 3 * 2 * 4 * 8);
  EXPECT_NEAR(last.curve[3].second / first, std::pow(0.25, 3), 1e-12);
  budget.tail = 0.2;
  EXPECT_NEAR(run(0.5, budget).value / first, (std::pow(0.25, 9) + std::pow(0.25, 10)) / 2, 1e-12);
  EXPECT_NEAR(run(0.5, budget, 5).value / first, std::pow(0.25, 10), 1e-12) << "one of two gaps";
}

TEST_F(DescentArmTest, EndsBeforeItWouldSendMoreThanItMay) {
  DescentBudget budget;
  budget.steps = 1000;
  budget.bytes = 7 * 64 + 63;
  const LoopOutcome outcome = run(0.1, budget);
  EXPECT_EQ(outcome.steps, 7);
  EXPECT_EQ(outcome.bytes, 7u * 64);
}

TEST_F(DescentArmTest, LeavingAllBoundsIsAValue) {
  DescentBudget budget;
  budget.steps = 1000;
  EXPECT_EQ(run(100, budget).value, diverged_value);
  EXPECT_EQ(run(1e200, budget, 2).value, diverged_value) << "gradients that are not finite";
}

TEST_F(DescentArmTest, TheArmsAreTheMethodsOfTheCard) {
  const std::vector<DescentArm> arms = descent_arms(true);
  std::vector<std::string> names;
  for (const DescentArm& arm : arms) names.push_back(arm.name);
  EXPECT_THAT(names, testing::ElementsAre("SGD", "C-SGD", "EC", "EF21", "EControl", "EC-Ideal", "EF21-SGDM"));
  EXPECT_EQ(descent_arms(false).size(), 5u);
  for (const DescentArm& arm : arms) {
    EXPECT_EQ(arm.compressed, arm.name != "SGD");
    EXPECT_EQ(arm.tunes_eta, arm.name == "EControl");
    EXPECT_EQ(arm.ideal, arm.name == "EC-Ideal");
    EXPECT_EQ(arm.form.average, arm.name == "EF21-SGDM" ? 0.1 : 1.0);
    EXPECT_EQ(arm.form.estimator, arm.name == "EF21" || arm.name == "EControl" || arm.name == "EF21-SGDM");
    EXPECT_EQ(arm.form.error, arm.name == "EC" || arm.name == "EControl" || arm.name == "EC-Ideal");
  }
  // One number of four a message: what is thrown away keeps C-SGD off the optimum, EF21 gets there.
  channel_ = exact_top_k_channel(1);
  DescentBudget budget;
  budget.steps = 400;
  const double first = problem_.gap(start_);
  EXPECT_GT(run(0.1, budget, 1, arms[1].form).value, 1e-3 * first);
  EXPECT_LT(run(0.1, budget, 1, arms[3].form).value, 1e-12 * first);
}

}  // namespace
}  // namespace laconic
