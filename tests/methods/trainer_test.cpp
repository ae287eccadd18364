// The training loop on a least-squares task: what ranks do together equals what one would do, refusals leave
// nothing behind, and a run that stops goes on with the same bits.
#include "methods/gradients/training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/training_checkpoint.h"

namespace laconic {
namespace {

// 1/2 (a_i . x - b_i)^2 over rows a_i of three tensors' width.
class LeastSquares : public TrainingTask {
 public:
  static constexpr std::size_t width = 12;
  static constexpr std::int64_t count = 64;

  // Example `broken` has a gradient that is not finite; -1: none has.
  explicit LeastSquares(std::int64_t broken = -1) : broken_(broken) {
    tensors_ = {{"first", {2, 3}, 0, 6}, {"second", {4}, 6, 4}, {"third", {2}, 10, 2}};
    RandomStream random(1, "least squares", "rows");
    for (std::size_t i = 0; i < static_cast<std::size_t>(count) * width; ++i)
      rows_.push_back(random.gaussian());
    for (std::int64_t i = 0; i < count; ++i) targets_.push_back(random.gaussian());
  }
  std::string text() const override { return "least squares"; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t) const override { return std::vector<float>(width, 0.5f); }
  std::int64_t examples() const override { return count; }
  const std::vector<std::int32_t>& labels() const override { return labels_; }

  class Replica : public TrainingReplica {
   public:
    explicit Replica(const LeastSquares& task) : task_(task) {}
    double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                    std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
      std::fill(gradient.begin(), gradient.end(), 0.0f);
      double loss = 0;
      const auto n = static_cast<float>(examples.size());
      for (const std::int64_t example : examples) {
        const float* row = task_.rows_.data() + static_cast<std::size_t>(example) * width;
        float residual = -task_.targets_[static_cast<std::size_t>(example)];
        for (std::size_t j = 0; j < width; ++j) residual += row[j] * point[j];
        loss += 0.5 * residual * residual / n;
        for (std::size_t j = 0; j < width; ++j) gradient[j] += residual * row[j] / n;
        if (example == task_.broken_) gradient[7] = std::numeric_limits<float>::quiet_NaN();
      }
      if (on_ready) {
        for (const std::size_t tensor : {2, 0, 1}) on_ready(tensor);
      }
      return loss;
    }
    Evaluation evaluate(std::span<const float> point, std::int64_t) override {
      std::vector<std::int64_t> all(count);
      for (std::int64_t i = 0; i < count; ++i) all[static_cast<std::size_t>(i)] = i;
      std::vector<float> ignored(width);
      Evaluation evaluation;
      evaluation.loss = gradient(point, all, ignored, {});
      evaluation.count = count;
      return evaluation;
    }

   private:
    const LeastSquares& task_;
  };
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  friend class Replica;
  std::int64_t broken_;
  std::vector<TensorSlice> tensors_;
  std::vector<float> rows_, targets_;
  std::vector<std::int32_t> labels_;
};

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
  const LeastSquares task;
  TrainingSettings settings = dense_settings();
  const TrainingResult four = train_on_threads(task, settings, 4);
  settings.batch = 16;
  const TrainingResult one = train_on_threads(task, settings, 1);
  ASSERT_EQ(four.final_parameters.size(), one.final_parameters.size());
  for (std::size_t j = 0; j < one.final_parameters.size(); ++j)
    EXPECT_NEAR(four.final_parameters[j], one.final_parameters[j], 1e-5) << j;
  EXPECT_LT(four.evaluations.back().held_out.loss,
            0.9 * LeastSquares().replica()->evaluate(task.initial(1), 0).loss);
  EXPECT_EQ(one.sent_bytes, 0u);
  EXPECT_EQ(four.dense_bytes, 30u * 2 * 3 * 4 * 12 / 4);
  EXPECT_GE(four.sent_bytes, four.dense_bytes);
}

TEST(Trainer, AccumulationEqualsALargerBatch) {
  const LeastSquares task;
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
  const LeastSquares task;
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
  const LeastSquares healthy, broken(5);
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
  const LeastSquares task;
  TrainingSettings settings = dense_settings();
  settings.optimizer.weight_decay = 0.01;
  const std::string straight = train_on_threads(task, settings, 3).hash;
  settings.checkpoint = fresh_folder("resume");
  settings.checkpoint_every = 7;
  settings.steps = 17;
  train_on_threads(task, settings, 3);
  settings.steps = 30;
  settings.resume = true;
  const TrainingResult resumed = train_on_threads(task, settings, 3);
  EXPECT_EQ(resumed.resumed_from, 17);
  EXPECT_EQ(resumed.hash, straight);
  // One file of each kind and rank remains.
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(settings.checkpoint)) ++files;
  EXPECT_EQ(files, 5u);
}

TEST(Trainer, ACheckpointOfAnotherRunIsRefusedWithTheDifference) {
  const LeastSquares task;
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
  const LeastSquares task;
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
  class Failing : public LeastSquares {
   public:
    class Replica : public LeastSquares::Replica {
     public:
      Replica(const LeastSquares& task, std::atomic<int>& calls)
          : LeastSquares::Replica(task), calls_(calls) {}
      double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                      std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) override {
        if (++calls_ == 20) fail(ErrorKind::input, "the data is gone");
        return LeastSquares::Replica::gradient(point, examples, gradient, on_ready);
      }

     private:
      std::atomic<int>& calls_;
    };
    std::unique_ptr<TrainingReplica> replica() const override {
      return std::make_unique<Replica>(*this, calls_);
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
  const LeastSquares task;
  const TrainingResult result = train_on_threads(task, dense_settings(), 2);
  std::vector<std::string> names;
  for (const TimelineSpan& span : result.timeline) names.push_back(span.name);
  EXPECT_THAT(names, testing::ElementsAre("begin", "bucket 0", "bucket 1", "bucket 2", "backward"));
}

}  // namespace
}  // namespace laconic
