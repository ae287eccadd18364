// 1-bit Adam and its baseline, signs with error feedback, on a least-squares task over several ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/exchange/dense_exchange.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/onebit-adam/exchange.h"
#include "methods/gradients/training/trainer.h"
#include "tests/engine/exchange/exchange_step.h"
#include "tests/methods/least_squares_task.h"

namespace laconic {
namespace {

constexpr std::size_t width = 32, silent = 20;
constexpr std::int64_t examples = 96;

// Number 20 never has a gradient.
LeastSquaresTask regression() {
  LeastSquaresOptions options;
  options.tensors = {{"first", {5, 3}, 0, 15}, {"second", {9}, 15, 9}, {"third", {4, 2}, 24, 8}};
  options.examples = examples;
  options.start = 0.25f;
  options.silent = silent;
  return LeastSquaresTask(options);
}

using Values = std::vector<std::pair<std::string, std::string>>;

Parameters parameters_of(std::string_view slug, const Values& values) {
  Parameters parameters(method_named(slug).parameters);
  for (const auto& [name, value] : values) parameters.set(name, value);
  return parameters;
}

TrainingSettings settings_of(std::string_view slug, const Values& values) {
  TrainingSettings settings;
  settings.exchange = method_named(slug).exchange;
  settings.parameters = parameters_of(slug, values);
  settings.optimizer.kind = OptimizerSettings::Kind::adam;
  settings.optimizer.beta2 = 0.99;
  settings.steps = 150;
  settings.batch = 4;
  settings.rate.rate = 0.02;
  settings.compare_every = 1;
  return settings;
}

TrainingSettings dense_adam() {
  TrainingSettings settings = settings_of("onebit-adam", {});
  settings.parameters = {};
  settings.exchange = [](const ExchangeRequest& request) {
    return TrainingExchange{dense_exchange(request.tensors, DenseForm::f32, request.bucket_bytes), nullptr};
  };
  return settings;
}

double loss_of(const TrainingResult& result) { return result.evaluations.back().held_out.loss; }

TEST(OnebitAdam, TheWarmUpIsAdam) {
  const LeastSquaresTask task = regression();
  TrainingSettings settings = settings_of("onebit-adam", {{"freeze_step", "1000"}});
  std::vector<std::string> messages;
  TrainingListener listener;
  listener.message = [&](std::string_view text) { messages.emplace_back(text); };
  const TrainingResult own = train_on_threads(task, settings, 3, listener);
  const TrainingResult adam = train_on_threads(task, dense_adam(), 3);
  EXPECT_EQ(own.hash, adam.hash);
  EXPECT_THAT(messages, testing::ElementsAre(testing::HasSubstr("nothing will be compressed")));
}

TEST(OnebitAdam, ConvergesAfterTheFreezeAndSendsABitANumber) {
  const LeastSquaresTask task = regression();
  const double start = task.replica()->evaluate(task.initial(1), 0).loss;
  for (const int ranks : {1, 2, 4}) {
    TrainingSettings settings = settings_of("onebit-adam", {{"freeze_step", "60"}, {"scale", "mean"}});
    std::vector<StepRecord> records;
    TrainingListener listener;
    listener.on_step = [&](const StepRecord& record) { records.push_back(record); };
    settings.steps = 600;
    settings.rate.rate = 0.05;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.steps = 600;
    const TrainingResult result = train_on_threads(task, settings, ranks, listener);
    TrainingSettings adam = dense_adam();
    adam.steps = 600;
    adam.rate = settings.rate;
    const double dense = loss_of(train_on_threads(task, adam, ranks));
    EXPECT_LT(loss_of(result), 0.05 * start) << ranks;
    EXPECT_LT(loss_of(result), dense + 0.02 * start) << ranks;
    EXPECT_EQ(result.final_parameters[silent], 0.25f);
    if (ranks != 4) continue;
    // 31 numbers are carried, in four parts of a byte. Of tensors of 15, 8 and 8 numbers the parts hold 1, 2,
    // 2 and 1 pieces, so messages have 10, 15, 15 and 10 bytes: rank 0 sends the last three, and its own
    // thrice.
    EXPECT_EQ(records[200].sent_bytes, 15u + 15 + 10 + 3 * 10);
    EXPECT_LT(records[200].sent_bytes, records[10].sent_bytes);
  }
}

TEST(OnebitAdam, WithoutCompressionItIsAdamWithAFrozenVariance) {
  const LeastSquaresTask task = regression();
  TrainingSettings settings =
      settings_of("onebit-adam", {{"freeze_step", "10"}, {"compress", "false"}, {"floor", "0"}});
  settings.optimizer.bias_correction = false;
  settings.optimizer.weight_decay = 0.01;
  settings.steps = 25;
  std::vector<std::vector<float>> points;
  // The reference, in the order of the trainer's batches: all examples at once.
  settings.batch = examples;
  const TrainingResult result = train_on_threads(task, settings, 1);
  std::vector<float> x = task.initial(1), m(width), v(width), g(width);
  std::vector<std::int64_t> all(examples);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const auto replica = task.replica();
  for (int step = 1; step <= 25; ++step) {
    replica->gradient(x, all, g);
    for (std::size_t j = 0; j < x.size(); ++j) {
      m[j] = static_cast<float>(0.9 * m[j] + (1 - 0.9) * g[j]);
      const double wide = g[j];
      if (step <= 10) v[j] = static_cast<float>(0.99 * v[j] + (1 - 0.99) * wide * wide);
      const double decay = j < 15 || j >= 24 ? 0.01 : 0;
      x[j] = static_cast<float>(x[j] - 0.02 * (m[j] / (std::sqrt(double{v[j]}) + 1e-8) + decay * x[j]));
    }
  }
  // The trainer permutes examples, which moves the last bits of the gradient.
  for (std::size_t j = 0; j < x.size(); ++j) EXPECT_NEAR(result.final_parameters[j], x[j], 2e-6) << j;
}

TEST(OnebitAdam, AResumedRunGivesTheSameBitsInBothStages) {
  const LeastSquaresTask task = regression();
  for (const char* ratio : {"0", "0.5"}) {
    for (const std::int64_t stop : {11, 33}) {
      TrainingSettings settings = settings_of("onebit-adam", {{"freeze", "ratio"},
                                                              {"ratio", ratio},
                                                              {"window", "10"},
                                                              {"not_before", "20"},
                                                              {"dense", "vectors"}});
      settings.steps = 45;
      const std::string straight = train_on_threads(task, settings, 3).hash;
      settings.checkpoint =
          std::filesystem::path(testing::TempDir()) /
          ("laconic-onebit-resume-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
      std::filesystem::remove_all(settings.checkpoint);
      settings.steps = stop;
      train_on_threads(task, settings, 3);
      settings.steps = 45;
      settings.resume = true;
      EXPECT_EQ(train_on_threads(task, settings, 3).hash, straight) << ratio << ' ' << stop;
    }
  }
}

ExchangeRequest request_for(const Communicator& communicator, const Values& values) {
  ExchangeRequest request;
  request.tensors = regression().parameters();
  request.parameters = parameters_of("onebit-adam", values);
  request.optimizer.kind = OptimizerSettings::Kind::adam;
  request.ranks = communicator.size();
  request.rank = communicator.rank();
  request.steps = 100;
  return request;
}

bool step_of(onebit_adam::Parts& parts, Communicator& communicator, std::uint64_t step,
             std::vector<float> own, std::vector<float>& point) {
  for (std::size_t i = 0; i < parts.exchange->tensors().size(); ++i)
    parts.optimizer->prepare(i, slice_of(std::span(own), parts.exchange->tensors()[i]));
  std::vector<float> agreed;
  const bool accepted = exchange_step(*parts.exchange, communicator, step, own, agreed);
  if (accepted) parts.optimizer->apply(agreed, point, 0.01);
  return accepted;
}

std::vector<float> gradient_of(int rank, std::uint64_t step) {
  const RandomStream random(4, "gradient", "numbers", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(width);
  for (std::size_t j = 0; j < values.size(); ++j) values[j] = random.gaussian_at(j);
  return values;
}

TEST(OnebitAdam, ARefusedStepChangesNothingInEitherStage) {
  run_ranks(3, [](Communicator& communicator) {
    onebit_adam::Parts parts =
        onebit_adam::make_parts(request_for(communicator, {{"freeze_step", "3"}, {"dense", "vectors"}}));
    std::vector<float> point(width, 0.0f);
    for (std::uint64_t step = 1; step <= 6; ++step) {
      ASSERT_TRUE(step_of(parts, communicator, step, gradient_of(communicator.rank(), step), point));
      EXPECT_EQ(parts.optimizer->frozen(), step >= 3);
      EXPECT_EQ(parts.exchange->sends_signs(), step >= 3);
      const Bytes exchange = parts.exchange->save(), optimizer = parts.optimizer->save();
      const std::vector<float> before = point;
      std::vector<float> broken = gradient_of(communicator.rank(), 99);
      if (communicator.rank() == 2) broken[step * 5] = std::numeric_limits<float>::infinity();
      EXPECT_FALSE(step_of(parts, communicator, step, broken, point));
      EXPECT_EQ(parts.exchange->save(), exchange);
      EXPECT_EQ(parts.optimizer->save(), optimizer);
      EXPECT_EQ(point, before);
    }
  });
}

TEST(OnebitAdam, MomentumIsWhatIsSentAfterTheFreeze) {
  run_ranks(1, [](Communicator& communicator) {
    onebit_adam::Parts parts =
        onebit_adam::make_parts(request_for(communicator, {{"freeze_step", "2"}, {"dense", "vectors"}}));
    std::vector<float> point(width, 0.0f);
    for (std::uint64_t step = 1; step <= 2; ++step)
      step_of(parts, communicator, step, gradient_of(0, step), point);
    const std::vector<float> m(parts.optimizer->first().begin(), parts.optimizer->first().end());
    const std::vector<float> v(parts.optimizer->second().begin(), parts.optimizer->second().end());
    const std::vector<float> own = gradient_of(0, 3);
    std::vector<float> sent = own;
    for (std::size_t i = 0; i < 3; ++i)
      parts.optimizer->prepare(i, slice_of(std::span(sent), parts.exchange->tensors()[i]));
    for (std::size_t j = 0; j < sent.size(); ++j) {
      const bool dense = j >= 15 && j < 24;
      EXPECT_FLOAT_EQ(sent[j], dense ? own[j] : static_cast<float>(0.9 * m[j] + (1 - 0.9) * own[j]));
    }
    step_of(parts, communicator, 3, own, point);
    for (std::size_t j = 0; j < sent.size(); ++j) {
      const bool dense = j >= 15 && j < 24;
      EXPECT_EQ(parts.optimizer->second()[j] != v[j], dense) << "the variance of dense tensors lives on";
      if (!dense) continue;
      EXPECT_FLOAT_EQ(parts.optimizer->first()[j], static_cast<float>(0.9 * m[j] + (1 - 0.9) * own[j]));
    }
  });
}

TEST(OnebitAdam, TheFrozenStepGoesOnFromTheLastOfTheWarmUp) {
  onebit_adam::FrozenVarianceSettings settings;
  settings.adam.kind = OptimizerSettings::Kind::adam;
  settings.freeze.step = 5;
  settings.floor = 0;
  onebit_adam::FrozenVarianceAdam adam({{"x", {1, 4}, 0, 4}}, settings, {});
  std::vector<float> x(4, 0.0f), before;
  const std::vector<float> g = {1, -2, 0.5f, 3};
  for (int step = 1; step <= 5; ++step) {
    before = x;
    adam.apply(g, x, 0.01);
  }
  ASSERT_TRUE(adam.frozen());
  const std::vector<float> m(adam.first().begin(), adam.first().end()), at_freeze = x;
  adam.apply(m, x, 0.01);
  for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(x[j] - at_freeze[j], at_freeze[j] - before[j], 1e-6);
}

TEST(OnebitAdam, TheVarianceHasAFloorAndZerosAreLeftOut) {
  onebit_adam::FrozenVarianceSettings settings;
  settings.freeze.step = 1;
  settings.floor = 0.01;
  settings.adam.bias_correction = false;
  std::vector<std::uint8_t> carried;
  onebit_adam::FrozenVarianceAdam adam({{"x", {1, 6}, 0, 6}, {"y", {2}, 6, 2}}, settings,
                                       [&](std::vector<std::uint8_t> now) { carried = std::move(now); });
  std::vector<float> x(8, 0.0f);
  adam.apply(std::vector<float>{2, 1, -3, 1e-3f, 0, 0, 1, 2}, x, 0.01);
  EXPECT_EQ(carried, (std::vector<std::uint8_t>{1, 1, 1, 1, 0, 0, 1, 1}));
  // The lower median of 4, 1, 9, 1e-6, times 1 - beta2.
  EXPECT_FLOAT_EQ(adam.second()[3], 0.001f * 0.01f);
  EXPECT_FLOAT_EQ(adam.second()[1], 0.001f);
  EXPECT_EQ(adam.second()[4], 0.0f);
  const float left = x[4];
  adam.apply(std::vector<float>(8, 0.5f), x, 0.01);
  EXPECT_EQ(adam.first()[4], 0.0f);
  EXPECT_EQ(x[4], left);
  EXPECT_EQ(adam.first()[3], 0.5f);
}

TEST(OnebitAdam, StateThatIsDamagedOrAnothersIsRefused) {
  onebit_adam::FrozenVarianceSettings settings;
  settings.freeze.step = 2;
  const std::vector<TensorSlice> tensors = {{"x", {1, 4}, 0, 4}};
  onebit_adam::FrozenVarianceAdam adam(tensors, settings, {});
  std::vector<float> x(4, 0.0f);
  for (int step = 1; step <= 3; ++step) adam.apply(std::vector<float>{1, 2, 3, 4}, x, 0.01);
  const Bytes bytes = adam.save();
  onebit_adam::FrozenVarianceAdam other(tensors, settings, {});
  other.restore(bytes, "test");
  EXPECT_TRUE(other.frozen());
  EXPECT_EQ(other.save(), bytes);
  for (const std::size_t at : {std::size_t{1}, bytes.size() / 2, bytes.size() - 1}) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{8};
    EXPECT_THROW(other.restore(damaged, "test"), Error);
  }
  EXPECT_THROW(other.restore(ByteSpan(bytes).first(bytes.size() - 9), "test"), Error);
  EXPECT_EQ(other.save(), bytes) << "a refused state changes nothing";
  settings.freeze.step = 3;
  EXPECT_THROW(onebit_adam::FrozenVarianceAdam(tensors, settings, {}).restore(bytes, "test"), Error);
}

TEST(OnebitAdam, TheRatioRuleComparesNormsAWindowApart) {
  onebit_adam::FreezeSettings settings;
  settings.window = 10;
  settings.not_before = 40;
  onebit_adam::FreezeRule rule(settings);
  EXPECT_FALSE(rule.needs_norm(9));
  EXPECT_FALSE(rule.after_step(10, 1.0));
  EXPECT_EQ(rule.last_ratio(), 0);
  EXPECT_FALSE(rule.after_step(20, 2.0));
  EXPECT_DOUBLE_EQ(rule.last_ratio(), 0.5);
  EXPECT_FALSE(rule.after_step(30, 1.95)) << "too early, if settled";
  EXPECT_DOUBLE_EQ(rule.last_ratio(), 0.975);
  ByteWriter writer;
  rule.save(writer);
  onebit_adam::FreezeRule restored(settings);
  ByteReader reader(writer.span());
  restored.restore(reader);
  for (onebit_adam::FreezeRule* each : {&rule, &restored}) {
    EXPECT_FALSE(each->after_step(40, 2.05)) << "0.951";
    EXPECT_TRUE(each->after_step(50, 2.06));
  }
}

TEST(OnebitAdam, NormsThatNoVarianceHasAreNoState) {
  using Pair = std::pair<double, double>;
  for (const auto& [norm, ratio] : {Pair{-1, 0.5}, Pair{1, 1.5}, Pair{1, -0.1}, Pair{std::nan(""), 0.5},
                                    Pair{std::numeric_limits<double>::infinity(), 0.5}}) {
    ByteWriter writer;
    writer.f64(norm);
    writer.f64(ratio);
    ByteReader reader(writer.span());
    onebit_adam::FreezeRule rule({});
    EXPECT_THROW(rule.restore(reader), Error) << norm << ' ' << ratio;
  }
}

TEST(OnebitAdam, ASteadyVarianceIsSettledFromTheFirstWindowWhereItsBiasIsCorrected) {
  for (const bool corrected : {true, false}) {
    onebit_adam::FrozenVarianceSettings settings;
    settings.adam.beta2 = 0.9;
    settings.adam.bias_correction = corrected;
    settings.freeze.window = 10;
    onebit_adam::FrozenVarianceAdam adam({{"x", {1, 4}, 0, 4}}, settings, {});
    std::vector<float> x(4, 0.0f);
    std::vector<double> ratios;
    std::uint64_t frozen_after = 0;
    adam.on_variance = [&](std::uint64_t step, double norm, double ratio, bool frozen) {
      if (corrected && !frozen) {
        EXPECT_NEAR(norm, 14.25, 1e-4);
      }
      if (frozen && frozen_after == 0) frozen_after = step;
      if (step == 20 || step == 40) ratios.push_back(ratio);
    };
    for (int step = 1; step <= 40; ++step) adam.apply(std::vector<float>{1, -2, 0.5f, 3}, x, 0.01);
    // Uncorrected, v is (1 - 0.9^t) g^2.
    EXPECT_EQ(frozen_after, corrected ? 20u : 40u);
    EXPECT_NEAR(ratios[0], corrected ? 1 : 1 / (1 + std::pow(0.9, 10)), 1e-5);
    if (!corrected) {
      EXPECT_NEAR(ratios[1], (1 - std::pow(0.9, 30)) / (1 - std::pow(0.9, 40)), 1e-5);
    }
  }
}

TEST(OnebitAdam, TheShareOfTheRunIsItsFreezeStep) {
  run_ranks(1, [](Communicator& communicator) {
    EXPECT_THAT(onebit_adam::make_parts(request_for(communicator, {})).optimizer->text(),
                testing::HasSubstr("frozen after step 20"));
    EXPECT_THAT(onebit_adam::make_parts(request_for(communicator, {{"freeze", "ratio"}})).optimizer->text(),
                testing::HasSubstr("frozen at ratio 0.96 over 1000 steps"));
  });
}

TEST(EfSign, ErrorFeedbackIsWhatMakesSignsConverge) {
  const LeastSquaresTask task = regression();
  const double start = task.replica()->evaluate(task.initial(1), 0).loss;
  const auto run = [&](const Values& values) {
    TrainingSettings settings = settings_of("ef-sign", values);
    settings.optimizer.kind = OptimizerSettings::Kind::sgd;
    settings.optimizer.momentum = 0.5;
    settings.steps = 300;
    settings.rate.rate = 0.02;
    settings.rate.kind = RateSchedule::Kind::cosine;
    settings.rate.steps = 300;
    return loss_of(train_on_threads(task, settings, 3));
  };
  const double with = run({}), without = run({{"worker_error", "false"}, {"owner_error", "false"}});
  EXPECT_LT(with, 0.01 * start);
  EXPECT_LT(with, without);
}

TEST(EfSign, AResumedRunGivesTheSameBits) {
  const LeastSquaresTask task = regression();
  TrainingSettings settings = settings_of("ef-sign", {{"block", "8"}, {"dense", "vectors"}});
  settings.steps = 20;
  const std::string straight = train_on_threads(task, settings, 2).hash;
  settings.checkpoint =
      std::filesystem::path(testing::TempDir()) /
      ("laconic-ef-sign-resume-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
  std::filesystem::remove_all(settings.checkpoint);
  settings.steps = 9;
  train_on_threads(task, settings, 2);
  settings.steps = 20;
  settings.resume = true;
  EXPECT_EQ(train_on_threads(task, settings, 2).hash, straight);
}

}  // namespace
}  // namespace laconic
