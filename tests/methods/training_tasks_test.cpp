// Training tasks: gradients equal central differences, texts and seeds decide numbers, data of every kind
// are found, and what does not fit is refused with what there is.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/dataset/synthetic.h"
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/tasks/convex_oracle.h"
#include "methods/gradients/tasks/task_data.h"
#include "methods/gradients/training/trainer.h"

namespace laconic {
namespace {

using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<TrainingTask> task_of(const std::string& dataset, const std::string& model = {},
                                      std::map<std::string, double> options = {}) {
  TaskRequest request;
  request.dataset = dataset;
  request.model = model;
  request.options = std::move(options);
  request.seed = 3;
  return make_training_task(request);
}

std::vector<std::int64_t> first_examples(std::int64_t count) {
  std::vector<std::int64_t> examples(static_cast<std::size_t>(count));
  std::iota(examples.begin(), examples.end(), std::int64_t{0});
  return examples;
}

// The gradient along random directions against (f(x + h d) - f(x - h d)) / 2h, and every tensor told once.
void expect_gradient(const TrainingTask& task, double tolerance, float step = 1e-2f) {
  SCOPED_TRACE(task.text());
  const std::size_t size = layout_size(task.parameters());
  std::vector<float> point = task.initial(5), gradient(size, 77), ignored(size);
  RandomStream random(9, "training task test", "point");
  for (float& value : point) value += 0.1f * random.gaussian();
  const auto replica = task.replica();
  const std::vector<std::int64_t> examples = first_examples(std::min<std::int64_t>(task.examples(), 7));
  std::vector<int> told(task.parameters().size(), 0);
  replica->gradient(point, examples, gradient, [&](std::size_t tensor) { ++told.at(tensor); });
  EXPECT_THAT(told, Each(1));
  double norm = 0;
  for (const float value : gradient) norm += static_cast<double>(value) * value;
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 0);
  for (const TensorSlice& tensor : task.parameters()) {
    std::vector<float> direction(size, 0);
    double length = 0;
    for (float& value : slice_of(std::span<float>(direction), tensor)) {
      value = random.gaussian();
      length += static_cast<double>(value) * value;
    }
    double expected = 0;
    std::vector<float> ahead = point, behind = point;
    for (std::size_t i = 0; i < size; ++i) {
      direction[i] = static_cast<float>(direction[i] / std::sqrt(length));
      expected += static_cast<double>(direction[i]) * gradient[i];
      ahead[i] += step * direction[i];
      behind[i] -= step * direction[i];
    }
    const double difference =
        (replica->gradient(ahead, examples, ignored) - replica->gradient(behind, examples, ignored)) /
        (2 * step);
    EXPECT_NEAR(difference, expected, tolerance * norm) << tensor.name;
  }
}

TEST(TrainingTasks, GradientsEqualDifferences) {
  expect_gradient(*task_of("synthetic-logistic"), 1e-3);
  expect_gradient(*task_of("synthetic-logistic", "logistic-nonconvex", {{"regulariser", 0.5}}), 1e-3);
  expect_gradient(*task_of("synthetic-quadratic", "", {{"regulariser", 0.1}}), 1e-3);
  expect_gradient(*task_of("synthetic-classes", "softmax", {{"regulariser", 0.1}}), 1e-3);
  expect_gradient(*task_of("synthetic-classes", "mlp", {{"width", 16}}), 2e-2);
  expect_gradient(*task_of("synthetic-classes", "mlp", {{"width", 16}, {"layers", 3}, {"regulariser", 0.1}}),
                  2e-2);
  expect_gradient(*task_of("synthetic-logistic", "mlp"), 2e-2);
}

TEST(TrainingTasks, TextSaysWhatDecidesTheNumbers) {
  const auto task = task_of("synthetic-classes", "mlp", {{"width", 16}});
  EXPECT_THAT(task->text(),
              AllOf(HasSubstr("mlp on synthetic-classes"), HasSubstr("width=16"), HasSubstr("layers=1")));
  EXPECT_EQ(task->text(), task_of("synthetic-classes", "mlp", {{"width", 16}})->text());
  EXPECT_NE(task->text(), task_of("synthetic-classes", "mlp", {{"width", 17}})->text());
  TaskRequest request;
  request.dataset = "synthetic-classes";
  request.options["width"] = 16;
  request.seed = 4;
  EXPECT_NE(task->text(), make_training_task(request)->text()) << "other data";
  EXPECT_EQ(task->initial(1), task->initial(1));
  EXPECT_NE(task->initial(1), task->initial(2));
  EXPECT_EQ(task->labels().size(), static_cast<std::size_t>(task->examples()));
}

TEST(TrainingTasks, ExamplesAreKept) {
  const auto task = task_of("synthetic-logistic", "", {{"examples", 50}, {"test-examples", 20}});
  EXPECT_EQ(task->examples(), 50);
  const auto replica = task->replica();
  EXPECT_EQ(replica->evaluate(task->initial(1)).count, 20);
  EXPECT_EQ(replica->evaluate(task->initial(1), 7).count, 7);
  EXPECT_NEAR(replica->evaluate(task->initial(1)).loss, std::log(2), 1e-12);
}

std::string refusal(const std::function<void()>& body, ErrorKind kind = ErrorKind::usage) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(TrainingTasks, WrongRequestsAreRefused) {
  EXPECT_THAT(refusal([] { task_of("mnits"); }), AllOf(HasSubstr("mnist"), HasSubstr("synthetic-classes")));
  EXPECT_THAT(refusal([] {
                task_of("synthetic-logistic", "", {{"widht", 3}});
              }),
              AllOf(HasSubstr("widht"), HasSubstr("regulariser")));
  EXPECT_THAT(refusal([] { task_of("synthetic-classes", "mlp", {{"width", 0}}); }), HasSubstr("width"));
  EXPECT_THAT(refusal([] { task_of("synthetic-classes", "mlp", {{"width", 2.5}}); }), HasSubstr("whole"));
  EXPECT_THAT(refusal([] { task_of("synthetic-classes", "logistic"); }), HasSubstr("pictures"));
  EXPECT_THAT(refusal([] { task_of("synthetic-logistic", "factorisation"); }), HasSubstr("sparse rows"));
  EXPECT_THAT(refusal([] { task_of("mnist"); }, ErrorKind::input), HasSubstr("LACONIC_DATA"));
  EXPECT_THAT(known_datasets(), Contains("a9a"));
}

TEST(TrainingTasks, FilesOfTheUsers) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-tasks-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::string binary, classes, targets;
  for (int i = 0; i < 40; ++i) {
    binary += i % 3 == 0 ? "+1 1:0.5 3:1\n" : "-1 2:1\n";
    classes += std::to_string(i % 3) + " " + std::to_string(i % 5 + 1) + ":1\n";
    targets += std::to_string(i) + ".5 1:" + std::to_string(i) + "\n";
  }
  write_file(folder / "binary", binary);
  write_file(folder / "classes", classes);
  write_file(folder / "targets", targets);
  const auto logistic = task_of((folder / "binary").string());
  EXPECT_THAT(logistic->text(), HasSubstr("logistic on binary"));
  EXPECT_EQ(logistic->examples(), 36) << "every tenth is held out";
  EXPECT_THAT(task_of((folder / "classes").string())->text(), HasSubstr("softmax on classes"));
  EXPECT_THAT(task_of((folder / "targets").string())->text(), HasSubstr("least-squares on targets"));
  write_file(folder / "binary.t", "-1 5:1\n");
  EXPECT_EQ(task_of((folder / "binary").string())->examples(), 40);
  EXPECT_EQ(task_of((folder / "binary").string())->parameters()[0].size, 5u) << "the wider part decides";
  expect_gradient(*task_of((folder / "classes").string()), 1e-3);
  EXPECT_THAT(refusal([&] { task_of((folder / "missing").string()); }), HasSubstr("no such data set"));
  std::filesystem::remove_all(folder);
}

void write_idx(const std::filesystem::path& path, std::vector<std::uint8_t> shape, int modulus) {
  ByteWriter writer;
  writer.u16(0);
  writer.u8(8);
  writer.u8(static_cast<std::uint8_t>(shape.size()));
  int count = 1;
  for (const std::uint8_t side : shape) {
    for (int zero = 0; zero < 3; ++zero) writer.u8(0);
    writer.u8(side);
    count *= side;
  }
  for (int i = 0; i < count; ++i) writer.u8(static_cast<std::uint8_t>(i % modulus));
  write_file(path, writer.span());
}

TEST(TrainingTasks, PicturesOfTheUsers) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-pictures-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  write_idx(folder / "train-images-idx3-ubyte", {30, 3, 4}, 251);
  write_idx(folder / "train-labels-idx1-ubyte", {30}, 4);
  const auto one = task_of((folder / "train-images-idx3-ubyte").string(), "softmax");
  EXPECT_EQ(one->examples(), 27);
  EXPECT_EQ(one->parameters()[0].shape, (Shape{4, 12}));
  EXPECT_EQ(task_of(folder.string(), "softmax")->examples(), 27) << "the only pair of the folder";
  write_idx(folder / "t10k-images-idx3-ubyte", {6, 3, 4}, 100);
  write_idx(folder / "t10k-labels-idx1-ubyte", {6}, 5);
  const auto both = task_of(folder.string() + "/", "softmax");
  EXPECT_THAT(both->text(), HasSubstr("softmax on laconic-pictures"));
  EXPECT_EQ(both->examples(), 30);
  EXPECT_EQ(both->parameters()[0].shape, (Shape{5, 12})) << "classes of both parts";
  EXPECT_EQ(both->replica()->evaluate(both->initial(1)).count, 6);
  std::filesystem::remove(folder / "train-labels-idx1-ubyte");
  EXPECT_THAT(refusal([&] { task_of(folder.string(), "softmax"); }, ErrorKind::input), HasSubstr("labels"));
  std::filesystem::remove_all(folder);
}

TEST(TrainingTasks, Factorisation) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-ratings-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder / "ctr/ml-100k");
  std::string ratings;
  for (int i = 0; i < 60; ++i)
    ratings += fmt::format("{}\t{}\t{}\t{}\n", i % 7 + 1, i % 11 + 1, i % 5 + 1, i);
  write_file(folder / "ctr/ml-100k/u.data", ratings);
  TaskRequest request;
  request.dataset = "ml-100k";
  request.data = folder;
  request.options["width"] = 3;
  const auto task = make_training_task(request);
  EXPECT_EQ(task->examples(), 54);
  EXPECT_EQ(layout_size(task->parameters()), (7u + 11) * 4);
  expect_gradient(*task, 1e-3);
  std::filesystem::remove_all(folder);
}

TEST(TrainingTasks, AClassifierLearns) {
  const auto task =
      task_of("synthetic-classes", "mlp", {{"width", 32}, {"examples", 1000}, {"test-examples", 500}});
  TrainingSettings settings;
  settings.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::f32, 1 << 20);
    return made;
  };
  settings.steps = 60;
  settings.batch = 16;
  settings.rate.rate = 0.1;
  const TrainingResult result = train_on_threads(*task, settings, 2);
  EXPECT_GT(result.evaluations.back().held_out.accuracy.value(), 0.8);
  EXPECT_EQ(result.hash, train_on_threads(*task, settings, 2).hash);
}

// Rows of worker 1: (1, 0) and (0, 2); worker 2: (1, 1).
SparseExamples three_rows() { return parse_libsvm("1 1:1\n-1 2:2\n1 1:1 2:1", "rows"); }

TEST(ConvexOracle, SmoothnessByHand) {
  const SparseExamples rows = three_rows();
  const ConvexOracle logistic(LinearModel(rows, LinearLoss::logistic, Regulariser::saturating, 1e-3, "rows"),
                              {{0, 1}, {2}, {}});
  // lambda_max(A^T A) / (4 n) + 2 lambda: 4/8, 2/4, and the regulariser alone.
  EXPECT_NEAR(logistic.smoothness_of(0), 1.001 * 0.5 + 2e-3, 1e-6);
  EXPECT_NEAR(logistic.smoothness_of(1), 1.001 * 0.5 + 2e-3, 1e-6);
  EXPECT_NEAR(logistic.smoothness_of(2), 2e-3, 1e-12);
  EXPECT_EQ(logistic.all_smoothness()[1], logistic.smoothness_of(1));
  const ConvexOracle squares(LinearModel(rows, LinearLoss::squares, Regulariser::l2, 0.5, "rows"),
                             {{0, 1}, {2}});
  EXPECT_NEAR(squares.smoothness_of(0), 1.001 * 2 + 0.5, 1e-5);
  // (diag(1, 4)/2 + ones)/2 = ((0.75, 0.5), (0.5, 1.5)): 1.125 + sqrt(0.140625 + 0.25) = 1.75
  EXPECT_NEAR(squares.smoothness(), 1.001 * 1.75 + 0.5, 1e-5);
}

TEST(ConvexOracle, GradientsEqualDifferencesAndMeans) {
  const SparseExamples rows = synthetic_logistic(120, 9, SetPart::train, 1);
  for (const LinearLoss loss : {LinearLoss::logistic, LinearLoss::squares}) {
    for (const Regulariser regulariser : {Regulariser::l2, Regulariser::saturating}) {
      const ConvexOracle oracle(LinearModel(rows, loss, regulariser, 0.3, "rows"),
                                partition(PartitionRule{}, 120, {}, 50, 2));
      std::vector<double> point(9), gradient(9), sum(9, 0), own(9);
      RandomStream random(1, "oracle test", "point");
      for (double& value : point) value = random.gaussian();
      oracle.full_gradient(point, gradient);
      for (std::size_t j = 0; j < 9; ++j) {
        std::vector<double> ahead = point, behind = point;
        ahead[j] += 1e-5;
        behind[j] -= 1e-5;
        EXPECT_NEAR((oracle.value(ahead) - oracle.value(behind)) / 2e-5, gradient[j], 1e-8);
      }
      for (int worker = 0; worker < 50; ++worker) {
        oracle.evaluate(point, worker, 0, own);
        for (std::size_t j = 0; j < 9; ++j) sum[j] += own[j] / 50;
      }
      for (std::size_t j = 0; j < 9; ++j) EXPECT_NEAR(sum[j], gradient[j], 1e-12);
    }
  }
}

TEST(ConvexOracle, SmoothnessBoundsTheGradient) {
  const SparseExamples rows = synthetic_logistic(200, 6, SetPart::train, 1);
  const ConvexOracle oracle(LinearModel(rows, LinearLoss::logistic, Regulariser::saturating, 0.1, "rows"),
                            partition_by_row_norm(rows, 5));
  const std::vector<double> constants = oracle.all_smoothness();
  EXPECT_TRUE(std::is_sorted(constants.begin(), constants.end())) << "by norm";
  RandomStream random(1, "oracle test", "pairs");
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> a(6), b(6), at_a(6), at_b(6);
    for (std::size_t j = 0; j < 6; ++j) {
      a[j] = random.gaussian();
      b[j] = a[j] + 0.1 * random.gaussian();
    }
    for (int worker = 0; worker < 5; ++worker) {
      oracle.evaluate(a, worker, 0, at_a);
      oracle.evaluate(b, worker, 0, at_b);
      double distance = 0, change = 0;
      for (std::size_t j = 0; j < 6; ++j) {
        distance += (a[j] - b[j]) * (a[j] - b[j]);
        change += (at_a[j] - at_b[j]) * (at_a[j] - at_b[j]);
      }
      EXPECT_LE(std::sqrt(change), constants[static_cast<std::size_t>(worker)] * std::sqrt(distance));
    }
  }
}

TEST(ConvexOracle, MinibatchesAreNamedAndUnbiased) {
  const SparseExamples rows = synthetic_logistic(40, 4, SetPart::train, 1);
  const ConvexOracle oracle(LinearModel(rows, LinearLoss::squares, Regulariser::l2, 0, "rows"),
                            partition(PartitionRule{}, 40, {}, 2, 2), 4, 7);
  const ConvexOracle whole(LinearModel(rows, LinearLoss::squares, Regulariser::l2, 0, "rows"),
                           partition(PartitionRule{}, 40, {}, 2, 2));
  const std::vector<double> point{1, -1, 0.5, 2};
  std::vector<double> first(4), again(4), other(4), mean(4, 0), exact(4);
  oracle.evaluate(point, 1, 5, first);
  oracle.evaluate(point, 1, 5, again);
  oracle.evaluate(point, 1, 6, other);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  double square = 0;
  constexpr int samples = 4000;
  for (int s = 0; s < samples; ++s) {
    oracle.evaluate(point, 1, static_cast<std::uint64_t>(s), first);
    for (std::size_t j = 0; j < 4; ++j) mean[j] += first[j] / samples;
    square += first[0] * first[0] / samples;
  }
  whole.evaluate(point, 1, 0, exact);
  const double deviation = std::sqrt((square - mean[0] * mean[0]) / samples);
  EXPECT_NEAR(mean[0], exact[0], 5 * deviation);
}

TEST(TrainingTasks, SetsOfTheDataFolder) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA does not name the folder of reference data";
  struct Expected {
    const char* name;
    std::int64_t examples, width, held_out;
  };
  for (const Expected& set : {Expected{"a9a", 32561, 123, 16281},
                              {"w8a", 44775, 300, 4974},
                              {"mushrooms", 6513, 126, 1611},
                              {"phishing", 7564, 68, 840},
                              {"ijcnn1", 20000, 22, 8000},
                              {"reuters", 4000, 8315, 1000}}) {
    SCOPED_TRACE(set.name);
    if (!std::filesystem::exists(std::filesystem::path(data) / "convex" / set.name)) continue;
    TaskRequest request;
    request.dataset = set.name;
    request.data = data;
    const auto task = make_training_task(request);
    EXPECT_EQ(task->examples(), set.examples);
    EXPECT_EQ(task->parameters()[0].shape[0], set.width);
    EXPECT_EQ(task->replica()->evaluate(task->initial(0)).count, set.held_out);
  }
}

}  // namespace
}  // namespace laconic
