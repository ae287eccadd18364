// Logistic regression over clients sorted by label, and what decides whether a comparison's claim is met.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "methods/gradients/federated/comparison_rows.h"
#include "methods/gradients/federated/controlled_convex.h"
#include "methods/gradients/federated/convex_clients.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {
namespace {

SparseExamples two_clouds(int rows, std::uint64_t seed = 5) {
  SparseExamples examples;
  examples.columns = 6;
  RandomStream random(seed, "convex clients", "rows");
  const std::vector<std::uint32_t> columns = {0, 1, 2, 3, 4, 5};
  for (int i = 0; i < rows; ++i) {
    const float sign = i % 2 == 0 ? 1.0f : -1.0f;
    std::vector<float> values;
    for (std::size_t j = 0; j < columns.size(); ++j) values.push_back(0.3f * sign + random.gaussian());
    examples.append(sign, columns, values);
  }
  return examples;
}

TEST(ConvexClients, TheGapIsOneAtZeroAndGoesToZeroWhereTheGradientDoes) {
  const ConvexClients task(two_clouds(60), "clouds", 5, 0.1);
  std::vector<float> point = task.initial(0);
  EXPECT_DOUBLE_EQ(task.relative_gap(point), 1);
  const auto replica = task.replica();
  std::vector<float> mean(point.size()), own(point.size());
  // f is the mean of the clients' means.
  for (int step = 0; step < 400; ++step) {
    std::fill(mean.begin(), mean.end(), 0.0f);
    for (const auto& rows : task.examples_of()) {
      replica->gradient(point, rows, own);
      for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += own[j] / 5;
    }
    for (std::size_t j = 0; j < mean.size(); ++j) point[j] -= 0.5f * mean[j];
  }
  EXPECT_NEAR(task.relative_gap(point), 0, 1e-9);
  EXPECT_EQ(replica->evaluate(point).loss, task.relative_gap(point));
}

TEST(ConvexClients, AllButOneClientHaveOneClass) {
  const ConvexClients task(two_clouds(60), "clouds", 5, 0.1);
  int mixed = 0;
  std::size_t rows = 0;
  for (const auto& own : task.examples_of()) {
    rows += own.size();
    for (const std::int64_t row : own)
      mixed +=
          task.labels()[static_cast<std::size_t>(row)] != task.labels()[static_cast<std::size_t>(own[0])];
  }
  EXPECT_EQ(rows, 60u);
  EXPECT_LE(mixed, 6);
}

TEST(ConvexClients, TheTextTellsTheDataAndTheProblem) {
  const ConvexClients task(two_clouds(60), "clouds", 5, 0.1);
  EXPECT_NE(task.text(), ConvexClients(two_clouds(60, 6), "clouds", 5, 0.1).text());
  EXPECT_NE(task.text(), ConvexClients(two_clouds(60), "clouds", 6, 0.1).text());
  EXPECT_NE(task.text(), ConvexClients(two_clouds(60), "clouds", 5, 0.2).text());
  EXPECT_THROW(ConvexClients(two_clouds(4), "clouds", 5, 0.1), Error);
}

TEST(ConvexClients, ControlVariatesCloseTheGapThatAveragingLeaves) {
  const ConvexClients task(two_clouds(200), "clouds", 10, 0.1);
  FederatedSettings settings;
  settings.examples_of = task.examples_of();
  settings.participants = 5;
  settings.rounds = 200;
  settings.batch = 1 << 20;
  settings.local_rate = 0.1;
  const auto gap = [&](const std::string& slug) {
    const MethodDescription& method = method_named(slug);
    settings.algorithm = method.federated;
    settings.parameters = Parameters(method.parameters);
    return task.relative_gap(train_clients(task, settings).final_parameters);
  };
  EXPECT_LT(gap("scaffold"), 0.01 * gap("fedavg"));
}

ComparisonRow row(const std::string& name, std::vector<ArmNumbers> arms) {
  return {name, "", std::move(arms), "0.1 x 1"};
}

TEST(ComparisonClaims, AGapIsATenthAtEqualBytesForEverySeed) {
  const ComparisonRow baseline =
      row("b", {{{"tail", 1.0}, {"bytes_up", 1000}}, {{"tail", 1.0}, {"bytes_up", 1000}}});
  const auto met = [&](double first, double second, double bytes) {
    return gap_claim(
               row("a", {{{"tail", first}, {"bytes_up", bytes}}, {{"tail", second}, {"bytes_up", bytes}}}),
               baseline, "a against b", "paper")
        .met;
  };
  EXPECT_TRUE(met(0.1, 0.1, 1000));
  EXPECT_TRUE(met(0.1, 0.1, 1009));
  EXPECT_FALSE(met(0.1, 0.1, 1011)) << "more bytes";
  EXPECT_FALSE(met(0.1, 0.11, 1000)) << "more than a tenth";
  EXPECT_FALSE(met(1e30, 0.0, 1000)) << "a seed that diverged";
}

TEST(ComparisonClaims, AccuracyIsNearOrAboveAndADivergedArmHasNone) {
  const ComparisonRow baseline =
      row("b", {{{"accuracy", 0.9}, {"bytes_up", 1000}}, {{"accuracy", 0.9}, {"bytes_up", 1000}}});
  const auto claim = [&](double first, double second, double least) {
    return accuracy_claim(
        row("a", {{{"accuracy", first}, {"bytes_up", 1000}}, {{"accuracy", second}, {"bytes_up", 1000}}}),
        baseline, "a against b", least, "threshold", 20);
  };
  EXPECT_TRUE(claim(0.895, 0.889, -0.01).met);
  EXPECT_FALSE(claim(0.895, 0.88, -0.01).met);
  EXPECT_TRUE(claim(0.901, 0.902, 0).met);
  EXPECT_FALSE(claim(0.95, 0.899, 0).met) << "one seed below";
  const ComparisonRow diverged =
      row("a", {{{"loss", 1e30}, {"diverged", 1}, {"bytes_up", 0}}, {{"accuracy", 0.9}, {"bytes_up", 1000}}});
  EXPECT_DOUBLE_EQ(mean_of(diverged, "accuracy"), 0.45);
  const Claim lost = accuracy_claim(diverged, baseline, "a against b", -0.01, "threshold", 20);
  EXPECT_FALSE(lost.met);
  EXPECT_THAT(lost.note, testing::HasSubstr("diverged for 1 of 2 seeds"));
}

class ControlledConvex : public testing::Test {
 protected:
  ControlledConvex() {
    request_.scale = ReproduceRequest::Scale::quick;
    request_.data = folder_;
  }
  ~ControlledConvex() override { std::filesystem::remove_all(folder_); }
  static std::filesystem::path fresh_folder() {
    const auto folder = std::filesystem::path(testing::TempDir()) /
                        ("laconic-controlled-convex-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder);
    return folder;
  }
  Reproduction run(bool scallion) {
    Reproduction result;
    controlled_convex(request_, cache_, {1}, scallion, result);
    return result;
  }

  const std::filesystem::path folder_ = fresh_folder();
  ReproduceRequest request_;
  ArmCache cache_{folder_ / "arms"};
};

TEST_F(ControlledConvex, WithoutDataItSaysWhatIsLeftOut) {
  const Reproduction result = run(true);
  EXPECT_THAT(result.notes, testing::ElementsAre(testing::HasSubstr("a9a is left out")));
  EXPECT_TRUE(result.claims.empty());
  EXPECT_TRUE(result.tables.empty());
}

TEST_F(ControlledConvex, EachMethodIsHeldAgainstItsBaseline) {
  std::filesystem::create_directories(folder_ / "convex/a9a");
  const SparseExamples rows = two_clouds(240);
  std::string text;
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    text += rows.label[static_cast<std::size_t>(i)] > 0 ? "+1" : "-1";
    for (std::size_t j = 0; j < 6; ++j) text += fmt::format(" {}:{}", j + 1, rows.row(i).values[j]);
    text += "\n";
  }
  write_file(folder_ / "convex/a9a/a9a", text);
  for (const bool scallion : {true, false}) {
    const Reproduction result = run(scallion);
    EXPECT_TRUE(result.notes.empty());
    ASSERT_EQ(result.claims.size(), 1u);
    EXPECT_THAT(result.claims[0].claim,
                testing::StartsWith(scallion ? "SCALLION 1-level against FedAvg with 1-level QSGD, a9a"
                                             : "SCAFCOM Top-5% against Fed-EF Top-5%, a9a"));
    EXPECT_THAT(result.claims[0].baseline_name,
                testing::StartsWith(scallion ? "FedAvg + 1-level QSGD" : "Fed-EF Top-5%"));
    // The gap is 1 at the start; f* is its zero.
    EXPECT_GT(result.claims[0].measured_value, 0);
    EXPECT_LT(result.claims[0].measured_value, 1);
    EXPECT_GT(result.claims[0].baseline_bytes, 0u);
    ASSERT_EQ(result.tables.size(), 1u);
    EXPECT_EQ(result.tables[0].rows.size(), 4u) << "a head, fp32, the baseline, the method";
    EXPECT_EQ(result.curves.size(), 3u);
  }
  const int fresh = cache_.fresh();
  run(true);
  EXPECT_EQ(cache_.fresh(), fresh) << "arms are kept";
}

}  // namespace
}  // namespace laconic
