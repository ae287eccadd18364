#include "methods/reproduce.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/weights/decoupleq/reproduce.h"
#include "methods/weights/trial.h"

namespace laconic {
namespace {

class ArmCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::path(testing::TempDir()) /
                 ("arms_" + std::to_string(::getpid()) + "_" +
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path directory_;
};

TEST_F(ArmCacheTest, ComputesOnceAndGivesBackEveryBit) {
  const ArmNumbers numbers = {{"third", 1.0 / 3}, {"infinite", HUGE_VAL}, {"tiny", 5e-324}};
  int computed = 0;
  const auto compute = [&] {
    ++computed;
    return numbers;
  };
  {
    ArmCache cache(directory_);
    EXPECT_EQ(cache.arm("a", "key 1", compute), numbers);
    EXPECT_EQ(cache.fresh(), 1);
  }
  ArmCache cache(directory_);
  EXPECT_EQ(cache.arm("a", "key 1", compute), numbers);
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(cache.cached(), 1);
  ASSERT_EQ(cache.records().size(), 1U);
  EXPECT_TRUE(cache.records()[0].cached);
  cache.arm("a", "key 2", compute);  // another seed, say
  EXPECT_EQ(computed, 2);
}

TEST_F(ArmCacheTest, AKilledArmIsComputedAgainTheFinishedOnesAreKept) {
  ArmCache cache(directory_);
  cache.arm("first", "1", [] { return ArmNumbers{{"x", 1}}; });
  EXPECT_THROW(cache.arm("second", "2",
                         [&]() -> ArmNumbers {
                           std::filesystem::create_directories(cache.work_directory("2"));
                           fail(ErrorKind::interrupted, "stopped");
                         }),
               Error);
  ArmCache later(directory_);
  EXPECT_TRUE(later.contains("1"));
  EXPECT_FALSE(later.contains("2"));
  EXPECT_TRUE(std::filesystem::exists(later.work_directory("2")));  // to resume from
  later.arm("second", "2", [] { return ArmNumbers{{"x", 2}}; });
  EXPECT_FALSE(std::filesystem::exists(later.work_directory("2")));
}

TEST_F(ArmCacheTest, DamagedFilesAreComputedAgain) {
  ArmCache cache(directory_);
  cache.arm("a", "key", [] { return ArmNumbers{{"x", 1}}; });
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    for (const char* text : {"", "{", "[]", "{\"key\": \"key\"}", "{\"key\": \"other\", \"seconds\": \"1\"}",
                             "{\"key\": \"key\", \"seconds\": \"1\", \"numbers\": {\"x\": \"one\"}}"}) {
      std::ofstream(file.path()) << text;
      EXPECT_FALSE(cache.contains("key")) << text;
    }
  }
  EXPECT_EQ(cache.arm("a", "key", [] { return ArmNumbers{{"x", 2}}; }).at("x"), 2);
}

TEST(Reproduction, IsMetWhenEveryClaimIs) {
  Reproduction result;
  EXPECT_FALSE(result.met());
  result.claims.resize(2);
  result.claims[0].met = true;
  EXPECT_FALSE(result.met());
  result.claims[1].met = true;
  EXPECT_TRUE(result.met());
}

TEST(EqualBytes, TakesAPointWithinOnePercentElseInterpolatesInLogRate) {
  const std::vector<RatePoint> points = {{400, 2}, {100, 8}, {1005, 1}};
  EXPECT_EQ(value_at_bytes(points, 1000), 1);
  EXPECT_NEAR(*value_at_bytes(points, 200), 5, 1e-12);
  EXPECT_FALSE(value_at_bytes(points, 98));
  EXPECT_FALSE(value_at_bytes(points, 1020));
  EXPECT_EQ(value_at_bytes({{100, 8}}, 100.5), 8);
  EXPECT_FALSE(value_at_bytes({}, 100));
}

TEST(NatsDifference, PairsWindowsAndAveragesSeeds) {
  const auto arm = [](double first, double second) {
    return ArmNumbers{{"tokens.t.0", 10}, {"nats.t.0", first}, {"tokens.t.1", 30}, {"nats.t.1", second}};
  };
  const BootstrapInterval interval = nats_difference({arm(30, 60), arm(10, 60)}, {arm(10, 30)}, "t", 200);
  EXPECT_DOUBLE_EQ(interval.mean, 1);  // (10 + 30) / 40
  EXPECT_LE(interval.low, interval.mean);
  EXPECT_GE(interval.low, 1);  // both windows differ by 1 nat per token
}

TEST_F(ArmCacheTest, ATrialMeasuresWhatWasWritten) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA is not set";
  ReproduceRequest request;
  request.scale = ReproduceRequest::Scale::quick;
  request.data = data;
  ArmCache cache(directory_);
  TrialOptions options;
  options.tokens_per_text = 600;
  options.calibration_sequences = 4;
  Trial trial(request, trial_subject(request, "stories260K-hf"), cache, options);
  const ArmNumbers original = trial.original();
  EXPECT_EQ(original.at("kl.tinystories"), 0);
  EXPECT_EQ(original.at("top1.tinystories"), 1);
  const ArmNumbers eight = trial.compressed("rtn", {{"bits", "8"}}, 0);
  const ArmNumbers two = trial.compressed("rtn", {{"bits", "2"}}, 0);
  EXPECT_NEAR(eight.at("ppl.tinystories") / original.at("ppl.tinystories"), 1, 0.01);
  EXPECT_GT(two.at("ppl.tinystories"), 2 * original.at("ppl.tinystories"));
  EXPECT_GT(two.at("layer_loss"), 100 * eight.at("layer_loss"));
  EXPECT_LT(two.at("linear_bits"), 3.5);  // rows of 64: codes 2, scale and offset 0.5, frames
  EXPECT_GT(two.at("linear_bits"), 2.5);
  EXPECT_LT(two.at("stored_bytes"), eight.at("stored_bytes"));
  EXPECT_EQ(cache.fresh(), 3);
  trial.compressed("rtn", {{"bits", "2"}}, 0);
  EXPECT_EQ(cache.cached(), 1);
  EXPECT_THROW(trial.compressed("rtn", {{"bitz", "2"}}, 0), Error);
}

// 1 is the optimum over all codes: no search gets below it, and each does better than the one before.
TEST(DecoupleqAgainstExhaustive, RatiosToTheOptimumAreInOrder) {
  const ArmNumbers numbers = decoupleq_against_exhaustive(8);
  EXPECT_GE(numbers.at("default"), 1 - 1e-6);
  EXPECT_LE(numbers.at("default"), 1.15);
  EXPECT_LT(numbers.at("default"), numbers.at("card"));
  EXPECT_LT(numbers.at("card"), numbers.at("gptq"));
  EXPECT_EQ(decoupleq_against_exhaustive(8), numbers);
}

}  // namespace
}  // namespace laconic
