// Training whose members come and go: what a death interrupts leaves nothing behind, survivors end with the
// same bits, newcomers take part.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/elastic_threads.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/shared_training.h"
#include "methods/gradients/training/trainer.h"
#include "tests/methods/least_squares_task.h"

namespace laconic {
namespace {

LeastSquaresTask small_task() {
  LeastSquaresOptions options;
  options.tensors = {{"matrix", {8, 8}, 0, 64}, {"other", {6, 4}, 64, 24}, {"vector", {8}, 88, 8}};
  options.examples = 256;
  return LeastSquaresTask(options);
}

TrainingSettings settings_of(const std::string& exchange, std::int64_t steps) {
  TrainingSettings settings;
  use_exchange(settings, exchange_by_name(exchange));
  if (exchange == "onebit-adam") settings.optimizer.kind = OptimizerSettings::Kind::adam;
  settings.steps = steps;
  settings.batch = 4;
  settings.rate.rate = 0.002;
  settings.bucket_bytes = 256;
  settings.compare_every = 5;
  return settings;
}

// Each member on a thread; results of those that were not killed.
class Members {
 public:
  Members(const TrainingTask& task, TrainingSettings settings)
      : task_(task), settings_(std::move(settings)) {}
  ~Members() { wait(); }

  void add(std::uint64_t lives_for = UINT64_MAX, TrainingListener listener = {}) {
    const std::size_t index = results_.size();
    results_.emplace_back();
    worlds_.push_back(run_.join(lives_for));
    threads_.emplace_back([this, index, listener = std::move(listener)] {
      try {
        TrainingResult result = train_member(task_, settings_, *worlds_[index], listener);
        const std::lock_guard lock(mutex_);
        results_[index] = std::move(result);
      } catch (const ElasticThreads::Killed&) {
      } catch (const Error& error) {
        const std::lock_guard lock(mutex_);
        errors_.push_back(error.what());
      }
      worlds_[index].reset();
    });
  }
  std::vector<TrainingResult> wait() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    std::vector<TrainingResult> finished;
    for (auto& result : results_) {
      if (result) finished.push_back(*result);
    }
    return finished;
  }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  const TrainingTask& task_;
  TrainingSettings settings_;
  ElasticThreads run_;
  std::mutex mutex_;
  std::deque<std::optional<TrainingResult>> results_;
  std::deque<std::unique_ptr<ElasticWorld>> worlds_;
  std::vector<std::thread> threads_;
  std::vector<std::string> errors_;
};

double first_loss(const TrainingTask& task) { return task.replica()->evaluate(task.initial(1), 0).loss; }

class EveryExchange : public testing::TestWithParam<std::string> {};

TEST_P(EveryExchange, SurvivorsOfADeathEndWithTheSameBits) {
  const LeastSquaresTask task = small_task();
  for (const std::uint64_t lives : {0u, 3u, 40u, 111u, 260u}) {
    TrainingSettings settings = settings_of(GetParam(), 40);
    settings.least_members = 3;
    Members members(task, settings);
    members.add();
    members.add();
    members.add(lives);
    const std::vector<TrainingResult> results = members.wait();
    ASSERT_TRUE(members.errors().empty()) << members.errors().front();
    ASSERT_GE(results.size(), 2u);
    EXPECT_EQ(results[0].steps, 40);
    EXPECT_EQ(results[0].hash, results[1].hash) << "killed after " << lives << " messages";
    ASSERT_GT(results[1].evaluations.back().held_out.count, 0) << "every member knows the last evaluation";
    EXPECT_LT(results[1].evaluations.back().held_out.loss, first_loss(task));
  }
}

// What a rank did in a step that somebody's death ended is undone to the bit.
TEST_P(EveryExchange, AnInterruptedStepLeavesNothingBehind) {
  const LeastSquaresTask task = small_task();
  const TrainingSettings settings = settings_of(GetParam(), 40);
  int interrupted = 0;
  for (std::uint64_t deaths = 0; deaths < 24; ++deaths) {
    ElasticThreads run;
    std::vector<std::unique_ptr<ElasticWorld>> worlds;
    for (int i = 0; i < 3; ++i) worlds.push_back(run.join(i == 2 ? 30 + deaths * 2 : UINT64_MAX));
    std::atomic<int> undone{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        ElasticWorld& world = *worlds[i];
        world.renew();
        while (world.size() < 3) world.renew();
        ExchangeRequest request;
        request.tensors = task.parameters();
        request.parameters = settings.parameters;
        request.optimizer = settings.optimizer;
        request.ranks = 3;
        request.rank = world.rank();
        request.steps = 40;
        request.bucket_bytes = settings.bucket_bytes;
        request.smoothness = [] { return std::vector<double>{1, 2, 3}; };
        const auto exchange = settings.exchange(request).exchange;
        const auto communicator = world.communicator();
        const auto replica = task.replica();
        std::vector<float> own(exchange->size()), agreed(exchange->size());
        const std::vector<float> point = task.initial(1);
        try {
          for (std::uint64_t step = 1; step <= 12; ++step) {
            const std::int64_t example = static_cast<std::int64_t>(step) * 3 + world.rank();
            replica->gradient(point, std::vector<std::int64_t>{example}, own);
            const Bytes before = exchange->save();
            world.begin_operation();
            bool succeeded = true, accepted = true;
            try {
              exchange->begin_step(*communicator, step);
              for (std::size_t b = 0; b < exchange->buckets().size(); ++b)
                accepted &= exchange->exchange(*communicator, step, b, own, agreed);
            } catch (const Error&) {
              succeeded = false;
            }
            const bool counts = world.end_operation(succeeded);
            exchange->end_step(counts && accepted);
            if (counts) continue;
            // A plan that rank 0 has made of accepted steps stays with those that it reached; the next group
            // agrees on one (GradientExchange::save_shared).
            if (GetParam() != "l-greco") {
              EXPECT_TRUE(exchange->save() == before) << "step " << step;
            }
            ++undone;
            return;
          }
        } catch (const ElasticThreads::Killed&) {
          worlds[i].reset();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    interrupted += undone == 2 ? 1 : 0;
  }
  EXPECT_GT(interrupted, 3);
}

std::vector<std::string> exchanges() {
  std::vector<std::string> names = exchange_names();
  names.push_back("ef:outliers(fraction=0.1)");
  names.push_back("ef21:uniform(bits=4,group=16)");
  return names;
}
INSTANTIATE_TEST_SUITE_P(Exchanges, EveryExchange, testing::ValuesIn(exchanges()),
                         [](const testing::TestParamInfo<std::string>& exchange) {
                           std::string name = exchange.param;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

TEST(ElasticTraining, ANewcomerTakesPartFromTheNextStepOn) {
  const LeastSquaresTask task = small_task();
  for (const char* exchange : {"dense", "powersgd", "ef-sign"}) {
    TrainingSettings settings = settings_of(exchange, 400);
    settings.least_members = 2;
    settings.evaluate_every = 100;
    Members members(task, settings);
    std::atomic<bool> added{false};
    TrainingListener listener;
    listener.on_step = [&](const StepRecord& record) {
      // Slow enough that the newcomer is there before the end.
      if (record.step == 50) added = true;
      if (record.step >= 50) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    members.add(UINT64_MAX, listener);
    members.add(UINT64_MAX, listener);
    while (!added) std::this_thread::yield();
    members.add(UINT64_MAX, listener);
    const std::vector<TrainingResult> results = members.wait();
    ASSERT_TRUE(members.errors().empty()) << members.errors().front();
    ASSERT_EQ(results.size(), 3u);
    EXPECT_EQ(results[2].hash, results[0].hash);
    EXPECT_EQ(results[2].ranks, 3);
    EXPECT_GT(results[2].state_bytes, 4 * 96u);
    EXPECT_LT(results[2].sent_bytes, results[0].sent_bytes) << "it did not see the first steps";
    EXPECT_EQ(results[2].evaluations.size(), 4u) << "it knows what was measured before";
  }
}

TrainingSettings local_settings(const std::string& method, std::int64_t steps) {
  TrainingSettings settings = settings_of("dense", steps);
  use_exchange(settings, exchange_by_name(method, {{"tau", "4"}}));
  return settings;
}

TEST(ElasticTraining, RoundsOfLocalStepsSurviveADeathAndTakeNewcomersIn) {
  const LeastSquaresTask task = small_task();
  for (const char* method : {"co2", "diloco", "local-sgd"}) {
    for (const std::uint64_t lives : {2u, 77u}) {
      TrainingSettings settings = local_settings(method, 80);
      settings.least_members = 3;
      settings.evaluate_every = 8;
      Members members(task, settings);
      std::atomic<bool> added{false};
      TrainingListener listener;
      listener.on_round = [&](const LocalRoundRecord& round) {
        if (round.round == 5) added = true;
        if (round.round >= 5) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      };
      members.add(UINT64_MAX, listener);
      members.add(UINT64_MAX, listener);
      members.add(lives, listener);
      while (!added) std::this_thread::yield();
      members.add();
      const std::vector<TrainingResult> results = members.wait();
      ASSERT_TRUE(members.errors().empty()) << members.errors().front();
      ASSERT_GE(results.size(), 3u);
      for (const TrainingResult& result : results) {
        EXPECT_EQ(result.hash, results[0].hash) << method << ", killed after " << lives << " messages";
        EXPECT_EQ(result.steps, 80);
        ASSERT_GT(result.evaluations.back().held_out.count, 0) << "every member knows the last evaluation";
        EXPECT_LT(result.evaluations.back().held_out.loss, first_loss(task));
      }
    }
  }
}

TEST(ElasticTraining, AnotherNumberOfMembersGoesOnFromACheckpoint) {
  const LeastSquaresTask task = small_task();
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("laconic-elastic-" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  TrainingSettings settings = settings_of("powersgd", 20);
  settings.steps = 40;
  settings.checkpoint = folder;
  settings.checkpoint_every = 5;
  settings.least_members = 3;
  {
    // One after the other leads, and dies.
    TrainingListener listener;
    listener.on_step = [](const StepRecord& record) {
      if (record.step >= 17) throw ElasticThreads::Killed();
    };
    Members members(task, settings);
    for (int i = 0; i < 3; ++i) members.add(UINT64_MAX, listener);
    EXPECT_TRUE(members.wait().empty());
  }
  ASSERT_TRUE(has_shared_training(folder));
  settings.resume = true;
  settings.least_members = 2;
  Members members(task, settings);
  members.add();
  members.add();
  const std::vector<TrainingResult> results = members.wait();
  ASSERT_TRUE(members.errors().empty()) << members.errors().front();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].resumed_from, 15);
  EXPECT_EQ(results[0].hash, results[1].hash);
  std::filesystem::remove_all(folder);
}

TEST(ElasticTraining, ACompleteRunTakesNobodyIn) {
  const LeastSquaresTask task = small_task();
  TrainingSettings settings = settings_of("dense", 3);
  ElasticThreads run;
  auto first = run.join();
  const TrainingResult result = train_member(task, settings, *first);
  EXPECT_EQ(result.steps, 3);
  auto late = run.join();
  EXPECT_THROW(train_member(task, settings, *late), Error);
}

}  // namespace
}  // namespace laconic
