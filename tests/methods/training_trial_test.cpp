// Training runs as arms: computed once, tuned over a grid that grows at its ends, divergence as a result; and
// how examples are dealt to workers.
#include "methods/gradients/training/training_trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "engine/base/error.h"
#include "methods/gradients/training/worker_examples.h"
#include "tests/methods/least_squares_task.h"

namespace laconic {
namespace {

using testing::ElementsAre;

LeastSquaresTask trial_task() {
  LeastSquaresOptions options;
  options.tensors = {{"x", {3, 4}, 0, 12}};
  return LeastSquaresTask(options);
}

class TrainingTrialTest : public testing::Test {
 protected:
  TrainingTrialTest() {
    TrainingSettings settings;
    settings.optimizer.momentum = 0;
    settings.steps = 25;
    settings.batch = 8;
    settings.evaluate_every = 10;
    trial_ = std::make_unique<TrainingTrial>(request_, cache_, task_, 2, settings);
  }
  ~TrainingTrialTest() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path fresh_folder() {
    const auto folder =
        std::filesystem::path(testing::TempDir()) / ("laconic-training-trial-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder);
    return folder;
  }

  const std::filesystem::path folder_ = fresh_folder();
  const LeastSquaresTask task_ = trial_task();
  const TrainingArm arm_ = {"plain", "dense", {}};
  ReproduceRequest request_;
  ArmCache cache_{folder_};
  std::unique_ptr<TrainingTrial> trial_;
};

TEST_F(TrainingTrialTest, AnArmIsComputedOnceAndHasItsCurve) {
  const ArmNumbers first = trial_->run(arm_, 3);
  EXPECT_EQ(trial_->run(arm_, 3), first);
  EXPECT_EQ(cache_.fresh(), 1);
  EXPECT_EQ(cache_.records().front().name, "plain, rate 0.1, seed 3");
  EXPECT_EQ(first.at("steps"), 25);
  EXPECT_EQ(first.at("diverged"), 0);
  EXPECT_EQ(first.at("dense_bytes"), 25 * 4 * 12);  // 2 (W - 1) / W of the numbers
  EXPECT_EQ(first.count("accuracy"), 0u);
  EXPECT_EQ(first.at("curve.0.step"), 10);
  EXPECT_EQ(first.at("curve.2.step"), 25);
  EXPECT_EQ(first.at("curve.2.loss"), first.at("loss"));
  EXPECT_EQ(curve_of({first}, "loss").size(), 3u);
  // What changes the numbers makes another arm: seeds, an adapted optimizer, the trial's own settings.
  EXPECT_NE(trial_->run(arm_, 4).at("loss"), first.at("loss"));
  TrainingArm faster = arm_;
  faster.adapt = [](TrainingSettings& settings) { settings.optimizer.momentum = 0.5; };
  EXPECT_NE(trial_->run(faster, 3).at("loss"), first.at("loss"));
  trial_->settings().steps = 26;
  EXPECT_EQ(trial_->run(arm_, 3).at("steps"), 26);
  EXPECT_EQ(cache_.fresh(), 4);
  EXPECT_EQ(cache_.cached(), 1);
}

TEST_F(TrainingTrialTest, TheBestRateOfTheFirstSeedIsTakenForAll) {
  TrainingArm arm = arm_;
  arm.adapt = [](TrainingSettings& settings) { settings.rate.rate = 1e6; };  // the grid's counts
  const auto [rate, arms] = trial_->tuned(arm, {0.001, 0.1, 0.01}, {5, 6});
  EXPECT_EQ(rate, 0.1);
  ASSERT_EQ(arms.size(), 2u);
  EXPECT_EQ(cache_.fresh(), 4);
  const std::vector<ArmNumbers> plain = trial_->run(arm_, std::vector<std::uint64_t>{5, 6});  // of rate 0.1
  EXPECT_EQ(cache_.fresh(), 4) << "the same arms";
  EXPECT_EQ(arms, plain);
  EXPECT_THROW(trial_->tuned(arm, {}, {5}), Error);
  EXPECT_THROW(trial_->tuned(arm, {0.1}, {}), Error);
}

TEST_F(TrainingTrialTest, AGridGrowsUntilItsBestRateLiesInside) {
  const double best = trial_->tuned(arm_, {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3}, {7}).first;
  ASSERT_GE(best, 0.03);
  ASSERT_LE(best, 0.3);
  EXPECT_EQ(trial_->tuned_inside(arm_, {0.01, 0.003}, {7}).first, best);
  EXPECT_EQ(trial_->tuned_inside(arm_, {3, 1}, {7}).first, best);
  EXPECT_EQ(trial_->tuned_inside(arm_, {best}, {7}).first, best) << "grows at both ends";
  EXPECT_EQ(cache_.fresh(), 8) << "rates of one digit, a factor of three apart";
  EXPECT_EQ(trial_->tuned_inside(arm_, {0.001, 0.003}, {7}, 3).first, 0.01) << "no more than three";
  EXPECT_EQ(cache_.fresh(), 8);
}

TEST_F(TrainingTrialTest, DivergenceIsAResult) {
  TrainingArm arm = arm_;
  arm.adapt = [](TrainingSettings& settings) { settings.rate.rate = 1e30; };
  ArmNumbers numbers = trial_->run(arm, 1);
  EXPECT_EQ(numbers.at("diverged"), 1);
  EXPECT_EQ(numbers.at("loss"), 1e30);
  EXPECT_EQ(numbers.at("steps"), 0) << "ten refused steps in a row ended it";
  arm.adapt = [](TrainingSettings& settings) {
    settings.rate.rate = 1e30;
    settings.steps = 4;
  };
  numbers = trial_->run(arm, 1);
  EXPECT_EQ(numbers.at("diverged"), 1);
  EXPECT_EQ(numbers.at("loss"), 1e30);
  EXPECT_EQ(numbers.at("steps"), 4) << "it ended before";
  EXPECT_GT(numbers.at("refused"), 0);
  arm.exchange = "no such method";
  EXPECT_THROW(trial_->run(arm, 1), Error) << "other errors are errors";
}

TEST(Spread, OfASampleAndOfOneValue) {
  const Spread spread = spread_of({{{"x", 1}}, {{"x", 2}}, {{"x", 6}}}, "x");
  EXPECT_DOUBLE_EQ(spread.mean, 3);
  EXPECT_EQ(spread.least, 1);
  EXPECT_EQ(spread.most, 6);
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt(7.0));
  EXPECT_EQ(spread_text(spread, 3, 2), "3.00 +- 2.65 (3 seeds)");
  EXPECT_EQ(spread_of({{{"x", 4}}}, "x").deviation, 0);
  EXPECT_THROW(spread_of({}, "x"), Error);
}

TEST(Spread, CurvesAreMeansAsFarAsAllSeedsHaveThem) {
  const ArmNumbers longer = {
      {"curve.0.bytes", 10}, {"curve.0.loss", 4}, {"curve.1.bytes", 20}, {"curve.1.loss", 2}};
  const ArmNumbers shorter = {{"curve.0.bytes", 12}, {"curve.0.loss", 1}};
  EXPECT_THAT(curve_of({longer, shorter}, "loss"), ElementsAre(testing::Pair(11, 2.5)));
  EXPECT_EQ(curve_of({longer}, "loss").size(), 2u);
  EXPECT_TRUE(curve_of({longer}, "accuracy").empty());
}

TEST(WorkerExamples, SharedIsNoPartitionAndRowsAreRuns) {
  const LeastSquaresTask task = trial_task();
  EXPECT_TRUE(worker_examples("shared", task, 3, 1).empty());
  const auto parts = worker_examples("rows", task, 3, 1);
  ASSERT_EQ(parts.size(), 3u);
  std::vector<std::int64_t> joined, all(64);
  for (const auto& part : parts) joined.insert(joined.end(), part.begin(), part.end());
  std::iota(all.begin(), all.end(), std::int64_t{0});
  EXPECT_EQ(joined, all);
  EXPECT_NE(worker_examples("iid", task, 3, 1), worker_examples("iid", task, 3, 2));
  EXPECT_THROW(worker_examples("sorted", task, 3, 1), Error) << "there are no labels";
  EXPECT_THROW(worker_examples("at random", task, 3, 1), Error);
}

}  // namespace
}  // namespace laconic
