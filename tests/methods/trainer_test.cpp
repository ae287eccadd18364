// The training loop on a least-squares task: what ranks do together equals what one would do, refusals leave
// nothing behind, and a run that stops goes on with the same bits.
#include "methods/gradients/training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/training_checkpoint.h"
#include "tests/methods/least_squares_task.h"

namespace laconic {
namespace {

LeastSquaresOptions three_tensors() {
  LeastSquaresOptions options;
  options.tensors = {{"first", {2, 3}, 0, 6}, {"second", {4}, 6, 4}, {"third", {2}, 10, 2}};
  options.ready_order = {2, 0, 1};
  return options;
}

TrainingSettings dense_settings() {
  TrainingSettings settings;
  settings.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::f32, 16);  // a bucket per tensor
    return made;
  };
  settings.steps = 30;
  settings.batch = 4;
  settings.rate.rate = 0.02;
  return settings;
}

std::filesystem::path fresh_folder(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-trainer-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

TEST(ExampleOrder, WorkersPartAnEpochAndPermuteItAnew) {
  std::vector<int> seen(64, 0);
  std::vector<std::int64_t> first, second;
  for (int worker = 0; worker < 4; ++worker) {
    ExampleOrder order(64, 4, worker, 4, 7);
    EXPECT_EQ(order.steps_per_epoch(), 4);
    for (std::int64_t step = 1; step <= 8; ++step) {
      for (const std::int64_t example : order.of_step(step)) {
        ++seen[static_cast<std::size_t>(example)];
        (step <= 4 ? first : second).push_back(example);
      }
    }
    ExampleOrder again(64, 4, worker, 4, 7);
    EXPECT_EQ(again.of_step(6), order.of_step(6)) << "no memory of the steps before";
  }
  EXPECT_THAT(seen, testing::Each(2));
  EXPECT_NE(first, second);
}

TEST(Trainer, RanksTogetherEqualOneWithTheWholeBatch) {
  const LeastSquaresTask task(three_tensors());
  TrainingSettings settings = dense_settings();
  const TrainingResult four = train_on_threads(task, settings, 4);
  settings.batch = 16;
  const TrainingResult one = train_on_threads(task, settings, 1);
  ASSERT_EQ(four.final_parameters.size(), one.final_parameters.size());
  for (std::size_t j = 0; j < one.final_parameters.size(); ++j)
    EXPECT_NEAR(four.final_parameters[j], one.final_parameters[j], 1e-5) << j;
  EXPECT_LT(four.evaluations.back().held_out.loss, 0.9 * task.replica()->evaluate(task.initial(1), 0).loss);
  EXPECT_EQ(one.sent_bytes, 0u);
  EXPECT_EQ(four.dense_bytes, 30u * 2 * 3 * 4 * 12 / 4);
  EXPECT_GE(four.sent_bytes, four.dense_bytes);
}

TEST(Trainer, AccumulationEqualsALargerBatch) {
  const LeastSquaresTask task(three_tensors());
  TrainingSettings settings = dense_settings();
  settings.batch = 2;
  settings.accumulate = 4;
  const TrainingResult parts = train_on_threads(task, settings, 2);
  settings.batch = 8;
  settings.accumulate = 1;
  const TrainingResult whole = train_on_threads(task, settings, 2);
  for (std::size_t j = 0; j < whole.final_parameters.size(); ++j)
    EXPECT_NEAR(parts.final_parameters[j], whole.final_parameters[j], 1e-5) << j;
}

TEST(Trainer, ClippingBoundsTheStep) {
  const LeastSquaresTask task(three_tensors());
  for (const auto where : {TrainingSettings::Clip::before, TrainingSettings::Clip::after}) {
    TrainingSettings settings = dense_settings();
    settings.optimizer.momentum = 0;
    settings.steps = 1;
    settings.clip = 0.25;
    settings.clip_where = where;
    const TrainingResult result = train_on_threads(task, settings, 2);
    double moved = 0;
    for (const float x : result.final_parameters) moved += (x - 0.5) * (x - 0.5);
    EXPECT_LE(std::sqrt(moved), 0.02 * 0.25 * 1.0001);
    EXPECT_GT(std::sqrt(moved), 0.02 * 0.25 * (where == TrainingSettings::Clip::after ? 0.999 : 0.1));
  }
}

TEST(Trainer, AGradientThatIsNotFiniteIsRefusedEverywhereAndNamed) {
  LeastSquaresOptions options = three_tensors();
  options.broken = 5;
  options.broken_at = 7;
  const LeastSquaresTask broken(options);
  TrainingSettings settings = dense_settings();
  settings.examples_of = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  settings.steps = 3;
  std::vector<std::string> messages;
  std::vector<StepRecord> records;
  TrainingListener listener;
  listener.message = [&](std::string_view text) { messages.emplace_back(text); };
  listener.on_step = [&](const StepRecord& record) { records.push_back(record); };
  const TrainingResult result = train_on_threads(broken, settings, 2, listener);
  EXPECT_EQ(result.refused, 3);
  EXPECT_EQ(result.final_parameters, broken.initial(1));
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_THAT(messages[0], testing::HasSubstr("second of rank 1"));
  EXPECT_FALSE(records[0].accepted);
  settings.steps = 50;
  EXPECT_THROW(train_on_threads(broken, settings, 2), Error) << "ten in a row end the run";
}

TEST(Trainer, AResumedRunGivesTheSameBits) {
  const LeastSquaresTask task(three_tensors());
  TrainingSettings settings = dense_settings();
  settings.optimizer.weight_decay = 0.01;
  settings.evaluate_every = 5;
  const TrainingResult straight = train_on_threads(task, settings, 3);
  settings.checkpoint = fresh_folder("resume");
  settings.checkpoint_every = 7;
  settings.steps = 17;
  train_on_threads(task, settings, 3);
  settings.steps = 30;
  settings.resume = true;
  const TrainingResult resumed = train_on_threads(task, settings, 3);
  EXPECT_EQ(resumed.resumed_from, 17);
  EXPECT_EQ(resumed.hash, straight.hash);
  // The curve is whole, and has the point where the first part ended besides: 5, 10, 15, 17, 20, 25, 30.
  ASSERT_EQ(straight.evaluations.size(), 6u);
  ASSERT_EQ(resumed.evaluations.size(), 7u);
  for (const std::size_t i : {0u, 1u, 2u, 4u, 5u}) {
    const EvaluationRecord &one = straight.evaluations[i], &other = resumed.evaluations[i < 3 ? i : i + 1];
    EXPECT_EQ(one.step, other.step);
    EXPECT_EQ(one.held_out.loss, other.held_out.loss);
    EXPECT_EQ(one.sent_bytes, other.sent_bytes);
    if (one.step != 20) {
      EXPECT_DOUBLE_EQ(one.training_loss, other.training_loss) << one.step;
    }
  }
  EXPECT_EQ(resumed.evaluations[3].step, 17);
  // One file of each kind and rank remains.
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(settings.checkpoint)) ++files;
  EXPECT_EQ(files, 5u);
}

TEST(Trainer, ACheckpointOfAnotherRunIsRefusedWithTheDifference) {
  const LeastSquaresTask task(three_tensors());
  TrainingSettings settings = dense_settings();
  settings.steps = 4;
  settings.checkpoint = fresh_folder("other");
  train_on_threads(task, settings, 2);
  settings.steps = 8;
  settings.resume = true;
  const auto refusal = [&](const TrainingSettings& other, int ranks) -> std::string {
    try {
      train_on_threads(task, other, ranks);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal(settings, 3), testing::HasSubstr("written by 2 ranks"));
  TrainingSettings other = settings;
  other.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::bf16);
    return made;
  };
  EXPECT_THAT(refusal(other, 2),
              testing::HasSubstr("\"exchange dense f32\" there, \"exchange dense bf16\" here"));
  // Damage is found.
  for (const auto& entry : std::filesystem::directory_iterator(settings.checkpoint)) {
    if (entry.path().extension() != ".rank-1") continue;
    Bytes bytes = read_file(entry.path());
    bytes[bytes.size() / 2] ^= std::byte{4};
    write_file(entry.path(), ByteSpan(bytes));
  }
  EXPECT_THROW(train_on_threads(task, settings, 2), Error);
}

TEST(Trainer, RanksWithOtherSettingsAreFoundAtTheStart) {
  const LeastSquaresTask task(three_tensors());
  TrainingSettings settings = dense_settings();
  std::atomic<int> made{0};
  settings.exchange = [&](const ExchangeRequest& request) {
    TrainingExchange result;
    result.exchange = dense_exchange(request.tensors, made++ == 0 ? DenseForm::f32 : DenseForm::bf16);
    return result;
  };
  try {
    train_on_threads(task, settings, 3);
    FAIL() << "ranks differ";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("differ in the settings"));
  }
}

TEST(Trainer, ARankThatFailsEndsTheOthers) {
  class Failing : public LeastSquaresTask {
   public:
    Failing() : LeastSquaresTask(three_tensors()) {}
    double add_example(std::span<const float> point, std::int64_t example, float batch,
                       std::span<float> gradient) const override {
      if (++calls_ == 80) fail(ErrorKind::input, "the data is gone");  // of 16 in a step
      return LeastSquaresTask::add_example(point, example, batch, gradient);
    }
    mutable std::atomic<int> calls_{0};
  };
  const Failing task;
  try {
    train_on_threads(task, dense_settings(), 4);
    FAIL() << "a rank has failed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("the data is gone"));
  }
}

TEST(Trainer, BucketsTravelBesideTheBackwardPass) {
  const LeastSquaresTask task(three_tensors());
  const TrainingResult result = train_on_threads(task, dense_settings(), 2);
  std::vector<std::string> names;
  for (const TimelineSpan& span : result.timeline) names.push_back(span.name);
  EXPECT_THAT(names, testing::ElementsAre("begin", "bucket 0", "bucket 1", "bucket 2", "backward"));
}

}  // namespace
}  // namespace laconic
