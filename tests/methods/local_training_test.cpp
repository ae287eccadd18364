// Training by local steps on a least-squares task: its special cases are what they are called, trajectories
// do not know the network, waiting is counted, and a run that stops goes on with the same bits.
#include "methods/gradients/training/local_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/local/outer_rule.h"
#include "methods/gradients/local/round_length.h"
#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "tests/methods/least_squares_task.h"

namespace laconic {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

LeastSquaresOptions two_tensors() {
  LeastSquaresOptions options;
  options.tensors = {{"first", {4, 6}, 0, 24}, {"second", {9}, 24, 9}};
  return options;
}

TrainingSettings settings_of(const std::string& exchange, const Options& parameters = {}) {
  TrainingSettings settings;
  use_exchange(settings, exchange_by_name(exchange, parameters));
  settings.steps = 40;
  settings.batch = 4;
  settings.rate.rate = 0.01;
  settings.optimizer.momentum = 0.5;
  settings.compare_every = 1;
  settings.bucket_bytes = 64;
  return settings;
}

std::filesystem::path local_folder(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-local-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

// Written down without the library's rounds: tau steps on each worker, then the mean in the order of a ring.
std::vector<float> local_sgd_by_hand(const TrainingTask& task, const TrainingSettings& settings, int workers,
                                     std::int64_t tau) {
  std::vector<float> point = task.initial(settings.seed);
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  std::vector<ExampleOrder> orders;
  for (int w = 0; w < workers; ++w) {
    optimizers.push_back(make_optimizer(settings.optimizer, task.parameters()));
    orders.emplace_back(task.examples(), workers, w, settings.batch, settings.seed);
  }
  const auto replica = task.replica();
  std::vector<float> gradient(point.size());
  for (std::int64_t step = 0; step < settings.steps; step += tau) {
    std::vector<std::vector<float>> local(static_cast<std::size_t>(workers), point);
    for (int w = 0; w < workers; ++w) {
      const auto i = static_cast<std::size_t>(w);
      for (std::int64_t k = 1; k <= std::min(tau, settings.steps - step); ++k) {
        replica->gradient(local[i], orders[i].of_step(step + k), gradient);
        optimizers[i]->apply(gradient, local[i], settings.rate.at(step + k));
      }
    }
    for (std::size_t j = 0; j < point.size(); ++j) {
      float sum = local[0][j];
      for (int w = 1; w < workers; ++w) sum += local[static_cast<std::size_t>(w)][j];
      point[j] = sum / static_cast<float>(workers);
    }
  }
  return point;
}

TEST(LocalTraining, LocalSgdIsWhatItSaysBitForBit) {
  const LeastSquaresTask task(two_tensors());
  const TrainingSettings settings = settings_of("local-sgd", {{"tau", "6"}});
  // Two workers: a sum has one order.
  const TrainingResult result = train_on_threads(task, settings, 2);
  EXPECT_EQ(result.final_parameters, local_sgd_by_hand(task, settings, 2, 6));
  EXPECT_EQ(result.rounds, 7) << "40 steps in rounds of 6, the last one shorter";
  EXPECT_LT(result.evaluations.back().held_out.loss, 0.9 * task.replica()->evaluate(task.initial(1), 0).loss);
}

TEST(LocalTraining, OuterStepsWithoutDelayMomentumAndPenaltyAreLocalSgd) {
  const LeastSquaresTask task(two_tensors());
  const TrainingResult local = train_on_threads(task, settings_of("local-sgd", {{"tau", "5"}}), 3);
  const TrainingResult slow =
      train_on_threads(task, settings_of("slowmo", {{"tau", "5"}, {"beta", "0"}, {"alpha", "1"}}), 3);
  EXPECT_EQ(local.hash, slow.hash);
  EXPECT_NE(train_on_threads(task, settings_of("slowmo", {{"tau", "5"}, {"beta", "0.5"}}), 3).hash,
            slow.hash);
}

TEST(LocalTraining, OneWorkerWithOneStepIsTheInnerOptimizer) {
  const LeastSquaresTask task(two_tensors());
  for (const auto kind : {OptimizerSettings::Kind::sgd, OptimizerSettings::Kind::adam}) {
    TrainingSettings local = settings_of("local-sgd", {{"tau", "1"}}), dense = settings_of("dense");
    local.optimizer.kind = dense.optimizer.kind = kind;
    EXPECT_EQ(train_on_threads(task, local, 1).hash, train_on_threads(task, dense, 1).hash);
  }
}

// SlowMo and DiLoCo by the formulas of their papers, on top of the rounds of Local-SGD.
TEST(LocalTraining, SlowMoAndDilocoFollowTheirFormulas) {
  const LeastSquaresTask task(two_tensors());
  for (const bool nesterov : {false, true}) {
    TrainingSettings settings = settings_of(nesterov ? "diloco" : "slowmo", {{"tau", "4"}});
    settings.steps = 12;
    settings.optimizer.momentum = 0;
    const TrainingResult result = train_on_threads(task, settings, 2);
    const double alpha = nesterov ? 0.7 : 1, beta = nesterov ? 0.9 : 0.5;
    std::vector<double> x(33, 0.5), m(33, 0);
    const auto replica = task.replica();
    ExampleOrder orders[2] = {{task.examples(), 2, 0, settings.batch, settings.seed},
                              {task.examples(), 2, 1, settings.batch, settings.seed}};
    std::vector<float> gradient(33);
    for (std::int64_t round = 0; round < 3; ++round) {
      std::vector<double> mean(33, 0);
      for (auto& order : orders) {
        std::vector<float> local(x.begin(), x.end());
        for (std::int64_t k = 1; k <= 4; ++k) {
          replica->gradient(local, order.of_step(4 * round + k), gradient);
          for (std::size_t j = 0; j < 33; ++j) local[j] -= static_cast<float>(0.01 * gradient[j]);
        }
        for (std::size_t j = 0; j < 33; ++j) mean[j] += local[j] / 2.0;
      }
      for (std::size_t j = 0; j < 33; ++j) {
        const double d = x[j] - mean[j];
        m[j] = beta * m[j] + d;
        x[j] -= alpha * (nesterov ? d + beta * m[j] : m[j]);
      }
    }
    for (std::size_t j = 0; j < 33; ++j) EXPECT_NEAR(result.final_parameters[j], x[j], 1e-5) << nesterov;
  }
}

TEST(LocalTraining, Co2UsesTheMeanOneRoundLate) {
  const LeastSquaresTask task(two_tensors());
  // After one round nothing has arrived but the drained mean: with alpha 1 and no momentum it is the result.
  TrainingSettings settings =
      settings_of("co2", {{"tau", "5"}, {"beta", "0"}, {"gap", "none"}, {"clip", "1e30"}});
  settings.steps = 5;
  const TrainingResult one = train_on_threads(task, settings, 2);
  TrainingSettings plain = settings_of("local-sgd", {{"tau", "5"}});
  plain.steps = 5;
  const TrainingResult mean = train_on_threads(task, plain, 2);
  for (std::size_t j = 0; j < 33; ++j)
    EXPECT_NEAR(one.final_parameters[j], mean.final_parameters[j], 1e-7) << j;
  // From the second round on the trajectories part.
  settings.steps = plain.steps = 40;
  EXPECT_NE(train_on_threads(task, settings, 2).hash, train_on_threads(task, plain, 2).hash);
}

TEST(LocalTraining, EveryMethodLearnsAndSendsOneReductionARound) {
  const LeastSquaresTask task(two_tensors());
  const double before = task.replica()->evaluate(task.initial(1), 0).loss;
  const TrainingResult dense = train_on_threads(task, settings_of("dense"), 3);
  for (const std::string& name : local_names()) {
    TrainingSettings settings = settings_of(name, {{"tau", "4"}});
    settings.steps = 120;
    const TrainingResult result = train_on_threads(task, settings, 3);
    EXPECT_LT(result.evaluations.back().held_out.loss, 0.8 * before) << name;
    const std::int64_t rounds = result.rounds;
    EXPECT_EQ(rounds, 30) << name;
    // The transport's count of what ring all-reduces of these buckets send.
    EXPECT_EQ(result.sent_bytes, static_cast<std::uint64_t>(rounds) * dense.sent_bytes / 40) << name;
  }
}

// An exchange that takes random times: points do not know.
TEST(LocalTraining, RandomDelaysOfReductionsChangeNothingButTime) {
  const LeastSquaresTask task(two_tensors());
  const auto run = [&](const std::string& name, std::uint64_t seed) {
    class Slow final : public GradientExchange {
     public:
      Slow(const ExchangeRequest& request, std::uint64_t seed)
          : GradientExchange(request.tensors, request.bucket_bytes),
            inner_(dense_exchange(request.tensors, DenseForm::f32, request.bucket_bytes)),
            random_(seed, "test", "delays", 0, static_cast<std::uint16_t>(request.rank)),
            slow_(seed > 0) {}
      std::string text() const override { return "slow"; }
      bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                    std::span<const float> own, std::span<float> agreed) override {
        const auto pause = [&] {
          if (slow_) std::this_thread::sleep_for(std::chrono::microseconds(random_.below(3000)));
        };
        pause();
        const bool accepted = inner_->exchange(communicator, step, bucket, own, agreed);
        pause();
        return accepted;
      }

     private:
      std::unique_ptr<GradientExchange> inner_;
      RandomStream random_;
      bool slow_;
    };
    TrainingSettings settings = settings_of(name, {{"tau", "3"}, {"mean", "points"}});
    settings.exchange = [seed](const ExchangeRequest& request) {
      TrainingExchange made;
      made.exchange = std::make_unique<Slow>(request, seed);
      return made;
    };
    return train_on_threads(task, settings, 3).hash;
  };
  for (const char* name : {"co2", "overlap-local-sgd", "async-diloco"}) {
    const std::string prompt = run(name, 0);
    for (const std::uint64_t seed : {1u, 2u, 3u}) EXPECT_EQ(run(name, seed), prompt) << name;
  }
}

TEST(LocalTraining, ShardedOuterStepsHaveTheBitsOfWholeOnes) {
  const LeastSquaresTask task(two_tensors());
  for (const char* name : {"co2", "slowmo", "diloco", "async-diloco", "local-sgd"}) {
    for (const char* sharded : {"false", "true"}) {
      TrainingSettings settings = settings_of(name, {{"tau", "5"}, {"sharded", sharded}});
      settings.rate.kind = RateSchedule::Kind::cosine;
      settings.rate.steps = settings.steps;
      static std::string whole;
      const std::string hash = train_on_threads(task, settings, 3).hash;
      if (sharded == std::string("false")) whole = hash;
      EXPECT_EQ(hash, whole) << name;
    }
  }
  for (const char* gap : {"tensor", "element", "constant"}) {
    const auto hash = [&](const char* sharded) {
      return train_on_threads(task,
                              settings_of("co2", {{"tau", "5"},
                                                  {"gap", gap},
                                                  {"gap_constant", "1.5"},
                                                  {"rates", "true"},
                                                  {"sharded", sharded}}),
                              3)
          .hash;
    };
    EXPECT_EQ(hash("true"), hash("false")) << gap;
  }
}

TEST(LocalTraining, DisplacementsCarryWhatPointsDo) {
  const LeastSquaresTask task(two_tensors());
  for (const char* name : {"co2", "local-sgd", "diloco", "overlap-local-sgd", "async-diloco"}) {
    const TrainingResult points = train_on_threads(task, settings_of(name, {{"tau", "4"}}), 3);
    const TrainingResult gone =
        train_on_threads(task, settings_of(std::string(name) + " over dense", {{"tau", "4"}}), 3);
    for (std::size_t j = 0; j < 33; ++j)
      EXPECT_NEAR(points.final_parameters[j], gone.final_parameters[j], 1e-5) << name;
  }
}

TEST(LocalTraining, ComposesWithCodecsAndMemories) {
  const LeastSquaresTask task(two_tensors());
  const auto loss = [&](const std::string& exchange) {
    TrainingSettings settings = settings_of(exchange, {{"tau", "4"}});
    settings.steps = 120;
    return train_on_threads(task, settings, 3).evaluations.back().held_out.loss;
  };
  const double whole = loss("co2");
  for (const char* carrier : {"ef:uniform(bits=8,group=64)", "ef-owners:uniform(bits=8,group=64)",
                              "dense-bf16", "owners:qsgd(bits=8)", "powersgd"}) {
    EXPECT_LT(loss(std::string("co2 over ") + carrier), 1.1 * whole + 0.01) << carrier;
  }
}

TEST(LocalTraining, KeepingTheFirstLocalStepsStaysTogether) {
  const LeastSquaresTask task(two_tensors());
  for (const char* carrier : {"", " over dense"}) {
    TrainingSettings settings = settings_of(std::string("co2") + carrier, {{"tau", "4"}, {"first", "local"}});
    settings.steps = 80;
    const TrainingResult result = train_on_threads(task, settings, 3);  // replicas are compared
    EXPECT_LT(result.evaluations.back().held_out.loss,
              0.8 * task.replica()->evaluate(task.initial(1), 0).loss);
  }
}

TEST(LocalTraining, NumbersThatAreNotFiniteLeaveTheRoundOutEverywhere) {
  LeastSquaresOptions options = two_tensors();
  options.broken = 5;
  options.broken_at = 7;
  const LeastSquaresTask broken(options);
  for (const char* name : {"co2", "local-sgd", "overlap-local-sgd", "diloco"}) {
    for (const char* carrier : {"", " over ef:uniform(bits=8)"}) {
      TrainingSettings settings = settings_of(std::string(name) + carrier, {{"tau", "2"}});
      settings.examples_of = {{0, 1, 2, 3}, {4, 5, 6, 7}};
      settings.steps = 6;
      std::vector<std::string> messages;
      TrainingListener listener;
      listener.message = [&](std::string_view text) { messages.emplace_back(text); };
      const TrainingResult result = train_on_threads(broken, settings, 2, listener);
      EXPECT_EQ(result.refused, 3) << name;
      EXPECT_EQ(result.final_parameters, broken.initial(1)) << name;
      ASSERT_FALSE(messages.empty());
      EXPECT_THAT(messages[0], testing::HasSubstr("the numbers of rank 1 are not finite")) << name;
      settings.steps = 60;
      EXPECT_THROW(train_on_threads(broken, settings, 2), Error) << "ten in a row end the run";
    }
  }
}

TEST(LocalTraining, AResumedRunGivesTheSameBits) {
  const LeastSquaresTask task(two_tensors());
  for (const std::string& name : local_names()) {
    for (const char* carrier : {"", " over ef-owners:uniform(bits=6,group=64)"}) {
      TrainingSettings settings = settings_of(name + carrier, {{"tau", "4"}});
      settings.optimizer.kind = OptimizerSettings::Kind::adam;
      settings.steps = 28;
      const TrainingResult straight = train_on_threads(task, settings, 3);
      settings.checkpoint = local_folder(name);
      settings.steps = 16;
      train_on_threads(task, settings, 3);
      settings.steps = 28;
      settings.resume = true;
      const TrainingResult resumed = train_on_threads(task, settings, 3);
      EXPECT_EQ(resumed.resumed_from, 16) << name;
      EXPECT_EQ(resumed.hash, straight.hash) << name << carrier;
      EXPECT_EQ(resumed.rounds, straight.rounds);
      EXPECT_EQ(resumed.sent_bytes, straight.sent_bytes) << name << carrier;
    }
  }
  TrainingSettings sharded = settings_of("co2", {{"tau", "4"}, {"sharded", "true"}});
  sharded.steps = 28;
  const TrainingResult straight = train_on_threads(task, sharded, 3);
  sharded.checkpoint = local_folder("sharded");
  sharded.steps = 12;
  train_on_threads(task, sharded, 3);
  sharded.steps = 28;
  sharded.resume = true;
  EXPECT_EQ(train_on_threads(task, sharded, 3).hash, straight.hash);
  TrainingSettings other = settings_of("co2", {{"tau", "4"}, {"beta", "0.3"}});
  other.checkpoint = sharded.checkpoint;
  other.resume = true;
  EXPECT_THROW(train_on_threads(task, other, 3), Error);
}

// Steps and reductions that take known times: what is exposed is what the model says.
TEST(LocalTraining, ExposedWaitingFollowsTheModel) {
  class Timed : public LeastSquaresTask {
   public:
    Timed() : LeastSquaresTask(two_tensors()) {}
    double add_example(std::span<const float> point, std::int64_t example, float batch,
                       std::span<float> gradient) const override {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return LeastSquaresTask::add_example(point, example, batch, gradient);
    }
  };
  const Timed task;
  const auto waited = [&](double k) {
    TrainingSettings settings = settings_of("co2", {{"tau", "4"}});
    settings.batch = 1;
    settings.steps = 24;
    settings.compare_every = 0;
    settings.evaluate_limit = 1;
    settings.exchange = [k](const ExchangeRequest& request) {
      class Takes final : public GradientExchange {
       public:
        Takes(std::vector<TensorSlice> tensors, double seconds)
            : GradientExchange(std::move(tensors)), seconds_(seconds) {}
        std::string text() const override { return "takes its time"; }
        bool exchange(Communicator&, std::uint64_t, std::size_t, std::span<const float> own,
                      std::span<float> agreed) override {
          std::this_thread::sleep_for(std::chrono::duration<double>(seconds_));
          std::copy(own.begin(), own.end(), agreed.begin());
          return true;
        }
        double seconds_;
      };
      TrainingExchange made;
      made.exchange = std::make_unique<Takes>(request.tensors, k * 4 * 0.005);
      return made;
    };
    // One worker, so that no other's pace is waited for.
    const TrainingResult result = train_on_threads(task, settings, 1);
    return result.wait / 5;  // five of the six rounds had a reduction to wait for
  };
  EXPECT_LT(waited(0), 0.004);
  EXPECT_LT(waited(0.5), 0.006);
  EXPECT_NEAR(waited(3), 2 * 4 * 0.005, 0.012);
}

TEST(LocalTraining, RoundsAreToldWithTheirGapAndWaiting) {
  const LeastSquaresTask task(two_tensors());
  std::vector<LocalRoundRecord> rounds;
  std::int64_t steps = 0;
  TrainingListener listener;
  listener.on_round = [&](const LocalRoundRecord& record) { rounds.push_back(record); };
  listener.on_step = [&](const StepRecord& record) { EXPECT_EQ(record.step, ++steps); };
  train_on_threads(task, settings_of("co2", {{"tau", "4"}}), 2, listener);
  ASSERT_EQ(rounds.size(), 10u);
  EXPECT_EQ(steps, 40);
  EXPECT_EQ(rounds[0].sent_bytes, 0u) << "nothing has arrived yet";
  EXPECT_GT(rounds[1].sent_bytes, 0u);
  EXPECT_EQ(rounds[1].gap, 1) << "the outer point has not moved yet";
  EXPECT_GT(rounds[3].gap, 1);
  EXPECT_EQ(rounds[9].step, 40);
}

TEST(LocalTraining, TooMuchMomentumForItsRoundsIsSaid) {
  const LeastSquaresTask task(two_tensors());
  TrainingSettings settings =
      settings_of("co2", {{"tau", "40"}, {"beta", "0.5"}, {"gap", "none"}, {"clip", "1e30"}});
  settings.rate.rate = 0.05;
  settings.optimizer.momentum = 0;
  settings.steps = 400;
  std::vector<std::string> messages;
  TrainingListener listener;
  listener.message = [&](std::string_view text) { messages.emplace_back(text); };
  try {
    train_on_threads(task, settings, 2, listener);
  } catch (const Error&) {  // it may leave all bounds
  }
  EXPECT_THAT(messages, testing::Contains(testing::HasSubstr("alpha q / gap + beta")));
}

TEST(RoundLength, HidesAReductionAndDoesNotFollowNoise) {
  EXPECT_EQ(RoundLength::hiding(0.5, 0.05, 500), 11);
  EXPECT_EQ(RoundLength::hiding(0, 0.05, 500), 1);
  EXPECT_EQ(RoundLength::hiding(100, 0.05, 500), 500);
  EXPECT_FALSE(RoundLength::worth_changing(20, 23));
  EXPECT_TRUE(RoundLength::worth_changing(20, 25));
  EXPECT_TRUE(RoundLength::worth_changing(1, 2));
}

TEST(RoundLength, IsFoundInARun) {
  const LeastSquaresTask task(two_tensors());
  TrainingSettings settings = settings_of("co2", {{"tau", "0"}, {"tau_cap", "6"}});
  settings.steps = 60;
  settings.exchange = [](const ExchangeRequest& request) {
    class Slow final : public GradientExchange {
     public:
      explicit Slow(const ExchangeRequest& request)
          : GradientExchange(request.tensors), inner_(dense_exchange(request.tensors, DenseForm::f32)) {}
      std::string text() const override { return "slow"; }
      bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                    std::span<const float> own, std::span<float> agreed) override {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return inner_->exchange(communicator, step, bucket, own, agreed);
      }
      std::unique_ptr<GradientExchange> inner_;
    };
    TrainingExchange made;
    made.exchange = std::make_unique<Slow>(request);
    return made;
  };
  const TrainingResult result = train_on_threads(task, settings, 2);
  EXPECT_EQ(result.tau, 6) << "steps are far shorter than reductions: the cap";
}

TEST(LocalTraining, NamesSayWhatCarriesTheMeans) {
  const ExchangeCandidate plain = exchange_by_name("co2", {{"tau", "48"}});
  EXPECT_EQ(plain.text, "co2(tau=48)");
  EXPECT_FALSE(plain.exchange);
  const ExchangeCandidate coded = exchange_by_name("diloco over ef:uniform(bits=8)");
  EXPECT_EQ(coded.text, "diloco over ef:uniform(bits=8)");
  EXPECT_TRUE(coded.exchange);
  EXPECT_THROW(exchange_by_name("co2 over co2"), Error);
  EXPECT_THROW(exchange_by_name("co2 over "), Error);
  EXPECT_THROW(exchange_by_name("co2 over fedavg"), Error);
  EXPECT_THROW(exchange_by_name("dense over dense"), Error);
  EXPECT_THROW(exchange_by_name("co2", {{"tau", "-1"}}), Error);
  EXPECT_THROW(exchange_by_name("co2", {{"beta", "1"}}), Error);
  EXPECT_THROW(exchange_by_name("co2", {{"clip", "0"}}), Error);
  EXPECT_THROW(exchange_by_name("co2", {{"alpha", "0"}}), Error);
  EXPECT_THROW(exchange_by_name("local-sgd", {{"tau", "0"}}), Error);
  EXPECT_THROW(step_exchange_by_name("co2"), Error);
}

TEST(LocalTraining, RefusesWhatDoesNotGoTogether) {
  const LeastSquaresTask task(two_tensors());
  const auto refused = [&](const std::string& exchange, const Options& parameters) {
    EXPECT_THROW(train_on_threads(task, settings_of(exchange, parameters), 2), Error) << exchange;
  };
  refused("co2 over ef:uniform(bits=8)", {{"sharded", "true"}});
  refused("co2", {{"sharded", "true"}, {"first", "local"}});
  refused("co2 over onebit-adam", {});
  refused("co2", {{"fidelity", "official"}, {"outer_frequency", "47"}});
  refused("co2 over dense", {{"fidelity", "official"}});
}

TEST(LocalTraining, ThePublishedVariantAveragesOftenAndStepsSeldom) {
  const LeastSquaresTask task(two_tensors());
  const Options often = {{"fidelity", "official"}, {"localsgd_frequency", "4"}, {"outer_frequency", "400"}};
  EXPECT_EQ(train_on_threads(task, settings_of("co2", often), 2).hash,
            train_on_threads(task, settings_of("local-sgd", {{"tau", "4"}}), 2).hash)
      << "without an outer step it is Local-SGD";
  const Options both = {
      {"fidelity", "official"}, {"localsgd_frequency", "4"}, {"outer_frequency", "4"}, {"beta", "0.5"}};
  const TrainingResult official = train_on_threads(task, settings_of("co2", both), 2);
  const TrainingResult slow =
      train_on_threads(task, settings_of("slowmo", {{"tau", "4"}, {"beta", "0.5"}, {"rates", "false"}}), 2);
  for (std::size_t j = 0; j < 33; ++j)
    EXPECT_NEAR(official.final_parameters[j], slow.final_parameters[j], 1e-6)
        << "with one in each round, SlowMo";
}

}  // namespace
}  // namespace laconic
