// Networks as training tasks: gradients equal those of the library's perceptron and central differences,
// tensors are told as they become final, and replicas on threads give the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/exchange/dense_exchange.h"
#include "lab_models.h"
#include "methods/gradients/training/trainer.h"
#include "methods/lab_plugin.h"

namespace laconic {
namespace {

using testing::Each;
using testing::HasSubstr;

TaskRequest request_of(const std::string& dataset, const std::string& model,
                       std::map<std::string, double> options = {}) {
  TaskRequest request;
  request.dataset = dataset;
  request.model = model;
  request.options = std::move(options);
  request.seed = 3;
  return request;
}

std::vector<std::int64_t> first_examples(std::int64_t count) {
  std::vector<std::int64_t> examples(static_cast<std::size_t>(count));
  std::iota(examples.begin(), examples.end(), std::int64_t{0});
  return examples;
}

std::vector<float> moved_start(const TrainingTask& task) {
  std::vector<float> point = task.initial(5);
  RandomStream random(9, "lab task test", "point");
  for (float& value : point) value += 0.02f * random.gaussian();
  return point;
}

double norm_of(std::span<const float> vector) {
  double square = 0;
  for (const float value : vector) square += static_cast<double>(value) * value;
  return std::sqrt(square);
}

// Each tensor's gradient along itself against central differences of the loss.
void expect_gradient(const TrainingTask& task) {
  SCOPED_TRACE(task.text());
  const std::size_t size = layout_size(task.parameters());
  const std::vector<float> point = moved_start(task);
  std::vector<float> gradient(size, 77), ignored(size);
  const auto replica = task.replica();
  const std::vector<std::int64_t> examples = first_examples(5);
  std::vector<int> told(task.parameters().size(), 0);
  std::vector<std::vector<float>> when_told(task.parameters().size());
  replica->gradient(point, examples, gradient, [&](std::size_t tensor) {
    ++told.at(tensor);
    const auto part = slice_of(std::span<const float>(gradient), task.parameters()[tensor]);
    when_told[tensor].assign(part.begin(), part.end());
  });
  EXPECT_THAT(told, Each(1));
  for (std::size_t i = 0; i < told.size(); ++i) {
    const TensorSlice& tensor = task.parameters()[i];
    const auto part = slice_of(std::span<const float>(gradient), tensor);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), when_told[i].begin(), when_told[i].end()))
        << tensor.name << " changed after it was told";
    const double length = norm_of(part);
    if (length < 1e-4) continue;
    // Rectifiers have kinks, and a step that crosses one is off: the smallest steps are right but for the
    // rounding of the loss.
    double nearest = 1e30;
    for (const double step : {4e-3, 1e-3, 2.5e-4}) {
      std::vector<float> ahead = point, behind = point;
      for (std::size_t j = 0; j < part.size(); ++j) {
        ahead[tensor.offset + j] += static_cast<float>(step * part[j] / length);
        behind[tensor.offset + j] -= static_cast<float>(step * part[j] / length);
      }
      const double difference =
          (replica->gradient(ahead, examples, ignored) - replica->gradient(behind, examples, ignored)) /
          (2 * step);
      if (std::abs(difference - length) < std::abs(nearest - length)) nearest = difference;
    }
    EXPECT_NEAR(nearest, length, 0.05 * length + 2e-3) << tensor.name;
  }
}

TEST(LabTasks, GradientsEqualDifferences) {
  expect_gradient(*make_training_task(request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}})));
  expect_gradient(*make_training_task(
      request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}, {"normalise", 1}})));
  expect_gradient(*make_training_task(request_of("synthetic-classes", "resnet", {{"width", 4}})));
  expect_gradient(*make_training_task(
      request_of("synthetic-classes", "vit", {{"width", 16}, {"layers", 2}, {"heads", 2}})));
}

// What a layer makes is brought to deviation 1: its weights' scale says nothing, and their gradient is across
// them.
TEST(LabTasks, NormalisedNetworksDoNotFeelTheScaleOfTheirWeights) {
  const auto task = make_training_task(
      request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}, {"normalise", 1}}));
  const auto plain =
      make_training_task(request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}}));
  EXPECT_EQ(layout_text(task->parameters()), layout_text(plain->parameters()));
  EXPECT_THAT(task->text(), HasSubstr("normalise=1"));
  EXPECT_THAT(plain->text(), testing::Not(HasSubstr("normalise")));
  const std::vector<float> point = moved_start(*task);
  std::vector<float> gradient(point.size()), ignored(point.size());
  const std::vector<std::int64_t> examples = first_examples(8);
  const double loss = task->replica()->gradient(point, examples, gradient);
  for (const TensorSlice& tensor : task->parameters()) {
    if (tensor.name != "conv1.weight" && tensor.name != "conv2.weight" && tensor.name != "fc1.weight")
      continue;
    std::vector<float> larger = point;
    double along = 0;
    for (std::size_t j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
      larger[j] *= 2;
      along += static_cast<double>(point[j]) * static_cast<double>(gradient[j]);
    }
    EXPECT_NEAR(task->replica()->gradient(larger, examples, ignored), loss, 1e-2 * loss) << tensor.name;
    EXPECT_NE(plain->replica()->gradient(larger, examples, ignored),
              plain->replica()->gradient(point, examples, ignored));
    const double weight_length = norm_of(slice_of(std::span<const float>(point), tensor)),
                 length = norm_of(slice_of(std::span<const float>(gradient), tensor));
    EXPECT_LT(std::abs(along), 2e-2 * weight_length * length) << tensor.name;
  }
  EXPECT_THROW(make_training_task(request_of("synthetic-classes", "cnn", {{"normalise", 2}})), Error);
}

TEST(LabTasks, PerceptronEqualsTheLibrarys) {
  const TaskRequest request = request_of("synthetic-classes", "mlp", {{"width", 24}, {"layers", 2}});
  const auto ours = make_training_task(request), of_lab = load_lab().training_task(request);
  ASSERT_EQ(layout_text(ours->parameters()), layout_text(of_lab->parameters()));
  EXPECT_EQ(ours->initial(7), of_lab->initial(7));
  EXPECT_EQ(ours->labels(), of_lab->labels());
  const std::vector<float> point = moved_start(*ours);
  std::vector<float> first(point.size()), second(point.size());
  const std::vector<std::int64_t> examples = first_examples(9);
  EXPECT_NEAR(ours->replica()->gradient(point, examples, first),
              of_lab->replica()->gradient(point, examples, second), 1e-5);
  for (std::size_t i = 0; i < first.size(); ++i) ASSERT_NEAR(first[i], second[i], 1e-5) << i;
  const Evaluation a = ours->replica()->evaluate(point), b = of_lab->replica()->evaluate(point);
  EXPECT_NEAR(a.loss, b.loss, 1e-4);
  EXPECT_NEAR(a.accuracy.value(), b.accuracy.value(), 2e-3);
  EXPECT_EQ(a.count, b.count);
}

TEST(LabTasks, AttackedPicturesEqualTheLibrarys) {
  const TaskRequest request =
      request_of("synthetic-classes", "mlp", {{"width", 24}, {"attack-radius", 0.1}, {"attack-steps", 2}});
  const auto ours = make_training_task(request), of_lab = load_lab().training_task(request);
  const std::vector<float> point = moved_start(*ours);
  std::vector<float> first(point.size()), second(point.size());
  const std::vector<std::int64_t> examples = first_examples(9);
  // A sign may differ where a gradient is all but zero.
  EXPECT_NEAR(ours->replica()->gradient(point, examples, first),
              of_lab->replica()->gradient(point, examples, second), 1e-4);
  const Evaluation a = ours->replica()->evaluate(point, 200), b = of_lab->replica()->evaluate(point, 200);
  EXPECT_NEAR(a.loss, b.loss, 1e-3);
  EXPECT_NEAR(a.accuracy.value(), b.accuracy.value(), 0.011);
  EXPECT_NEAR(a.clean_accuracy.value(), b.clean_accuracy.value(), 2e-3);
}

// Differences cannot show an attacked gradient: the attack jumps where a sign changes. What it must be is the
// clean gradient as the radius goes to 0, and that of a larger loss beyond.
TEST(LabTasks, AnAttackOnANetworkRaisesItsLossAndVanishesWithItsRadius) {
  const auto with_radius = [](double radius) {
    return make_training_task(
        request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}, {"attack-radius", radius}}));
  };
  const auto clean =
      make_training_task(request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}}));
  const std::vector<float> point = moved_start(*clean);
  const std::vector<std::int64_t> examples = first_examples(9);
  std::vector<float> wanted(point.size()), found(point.size());
  double loss = clean->replica()->gradient(point, examples, wanted);
  const double clean_loss = loss;
  for (const double radius : {0.01, 0.05, 0.2}) {
    const double attacked = with_radius(radius)->replica()->gradient(point, examples, found);
    EXPECT_GT(attacked, loss) << radius;
    loss = attacked;
  }
  const double nearly = with_radius(1e-5)->replica()->gradient(point, examples, found);
  EXPECT_NEAR(nearly, clean_loss, 1e-2 * clean_loss);
  for (std::size_t i = 0; i < found.size(); ++i) found[i] -= wanted[i];
  EXPECT_LT(norm_of(found), 0.02 * norm_of(wanted));
}

TEST(LabTasks, LanguageModelOnBytesAndPieces) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 400; ++i) text += "the cat number " + std::to_string(i % 17) + " sat on the mat\n";
  write_file(folder.path() / "text", text);
  const std::map<std::string, double> small{
      {"layers", 1}, {"width", 16}, {"heads", 2}, {"mlp", 24}, {"context", 16}};
  const auto bytes = make_training_task(request_of((folder.path() / "text").string(), "", small));
  EXPECT_EQ(bytes->unit(), "tokens");
  EXPECT_THAT(bytes->text(), HasSubstr("lm on text"));
  EXPECT_EQ(bytes->parameters()[0].shape, (Shape{256, 16})) << "tied table of the bytes";
  EXPECT_NEAR(bytes->replica()->evaluate(bytes->initial(1)).loss, std::log(256.0), 0.3);
  EXPECT_EQ(bytes->replica()->evaluate(bytes->initial(1), 3).count, 3 * 16);
  expect_gradient(*bytes);
  auto with_pieces = small;
  with_pieces["vocabulary"] = 280;
  with_pieces["examples"] = 20;
  const auto pieces = make_training_task(request_of((folder.path() / "text").string(), "lm", with_pieces));
  EXPECT_GT(pieces->parameters()[0].shape[0], 256);
  EXPECT_LE(pieces->parameters()[0].shape[0], 280);
  EXPECT_EQ(pieces->examples(), 20);
  EXPECT_NE(pieces->text(), bytes->text());
}

TEST(LabTasks, ReplicasOnThreadsGiveTheSameBits) {
  const auto task = make_training_task(request_of("synthetic-classes", "resnet", {{"width", 8}}));
  const std::vector<float> point = moved_start(*task);
  const std::vector<std::int64_t> examples = first_examples(8);
  std::vector<float> alone(point.size());
  task->replica()->gradient(point, examples, alone);
  std::vector<std::vector<float>> together(4, std::vector<float>(point.size()));
  std::vector<std::thread> threads;
  for (auto& gradient : together) {
    threads.emplace_back([&] {
      const auto replica = task->replica();
      for (int repeat = 0; repeat < 3; ++repeat) replica->gradient(point, examples, gradient);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(together, Each(alone));
}

TEST(LabTasks, AFailureInTheMiddleOfABackwardPassIsTheCallers) {
  const auto task = make_training_task(request_of("synthetic-classes", "cnn", {{"width", 4}, {"dense", 16}}));
  const auto replica = task->replica();
  const std::vector<float> point = task->initial(1);
  std::vector<float> gradient(point.size()), again(point.size()), fresh(point.size());
  const std::vector<std::int64_t> examples = first_examples(4);
  EXPECT_THROW(replica->gradient(point, examples, gradient,
                                 [](std::size_t tensor) {
                                   if (tensor == 4) fail(ErrorKind::io, "the link is gone");
                                 }),
               Error);
  replica->gradient(point, examples, again);
  task->replica()->gradient(point, examples, fresh);
  EXPECT_EQ(again, fresh) << "nothing of the broken pass is left";
}

TEST(LabTasks, ANetworkLearns) {
  const auto task = make_training_task(request_of(
      "synthetic-classes", "cnn", {{"width", 8}, {"dense", 32}, {"examples", 1000}, {"test-examples", 300}}));
  TrainingSettings settings;
  settings.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::f32, 4096);
    return made;
  };
  settings.steps = 60;
  settings.batch = 16;
  settings.rate.rate = 0.05;
  const TrainingResult result = train_on_threads(*task, settings, 2);
  EXPECT_GT(result.evaluations.back().held_out.accuracy.value(), 0.7);
  EXPECT_EQ(result.hash, train_on_threads(*task, settings, 2).hash);
}

TEST(LabTasks, WrongRequestsAreRefused) {
  const auto refusal = [](const TaskRequest& request) {
    try {
      make_training_task(request);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal(request_of("synthetic-classes", "resnet", {{"depth", 9}})), HasSubstr("6 n + 2"));
  EXPECT_THAT(refusal(request_of("synthetic-classes", "vit", {{"patch", 3}})), HasSubstr("patch"));
  EXPECT_THAT(refusal(request_of("synthetic-classes", "cnn", {{"widht", 3}})), HasSubstr("widht"));
  EXPECT_THAT(refusal(request_of("synthetic-classes", "lm")), HasSubstr("pictures"));
  EXPECT_THAT(refusal(request_of("synthetic-logistic", "cnn")), HasSubstr("sparse rows"));
  EXPECT_THAT(refusal(request_of("synthetic-classes", "cnm")), HasSubstr("resnet"));
}

}  // namespace
}  // namespace laconic
