// Deep Gradient Compression (card 07): the worked example, what masking makes of momentum, and conservation.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/dgc/dgc_exchange.h"
#include "methods/gradients/gradient_method.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

using Vector = std::vector<float>;

ExchangeRequest dgc_request(std::vector<TensorSlice> tensors,
                            const std::vector<std::pair<std::string, std::string>>& parameters) {
  ExchangeRequest request;
  request.tensors = std::move(tensors);
  request.parameters = Parameters(method_named("dgc").parameters);
  for (const auto& [name, value] : parameters) request.parameters.set(name, value);
  request.seed = 5;
  return request;
}

TEST(Dgc, WorkedExampleOfCard07) {
  run_ranks(1, [](Communicator& communicator) {
    const ExchangeRequest request =
        dgc_request({{"w", {1, 3}, 0, 3}}, {{"ratio", "0.3333333333"}, {"warmup_epochs", "0"}});
    const TrainingExchange made = method_named("dgc").exchange(request);
    const auto& exchange = dynamic_cast<const GatheredExchange&>(*made.exchange);
    const Vector gradients[] = {{1, -0.5f, 0.2f}, {0.1f, -0.6f, 0.2f}, {0.3f, 0.1f, 0.2f}};
    const Vector sent[] = {{1, 0, 0}, {0, -1.55f, 0}, {0, 0, 1.122f}};
    // After the step, with what was sent masked.
    const Vector momentum[] = {{0, -0.5f, 0.2f}, {0.1f, 0, 0.38f}, {0.39f, 0.1f, 0}};
    const Vector velocity[] = {{0, -0.5f, 0.2f}, {0.1f, 0, 0.58f}, {0.49f, 0.1f, 0}};
    Vector agreed;
    for (std::uint64_t step = 1; step <= 3; ++step) {
      ASSERT_TRUE(exchange_step(*made.exchange, communicator, step, gradients[step - 1], agreed));
      for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(agreed[i], sent[step - 1][i], 1e-6) << step << ' ' << i;
        EXPECT_NEAR(exchange.feedback(0)->momentum()[i], momentum[step - 1][i], 1e-6) << step << ' ' << i;
        EXPECT_NEAR(exchange.feedback(0)->velocity()[i], velocity[step - 1][i], 1e-6) << step << ' ' << i;
      }
    }
  });
}

std::vector<TensorSlice> two_tensors() { return {{"w", {8, 25}, 0, 200}, {"bias", {9}, 200, 9}}; }

Vector gradient_for(int rank, std::uint64_t step, std::size_t size = 209) {
  RandomStream random(2, "dgc test", "gradient", step, static_cast<std::uint16_t>(rank));
  Vector gradient(size);
  for (float& value : gradient) value = random.gaussian();
  return gradient;
}

// Parameters after some steps of rate 0.1, by DGC on 2 ranks.
Vector trained(const std::vector<std::pair<std::string, std::string>>& parameters,
               const OptimizerSettings& optimizer, std::uint64_t steps) {
  Vector result;
  std::mutex mutex;
  run_ranks(2, [&](Communicator& communicator) {
    ExchangeRequest request = dgc_request(two_tensors(), parameters);
    request.optimizer = optimizer;
    request.ranks = communicator.size();
    request.rank = communicator.rank();
    const TrainingExchange made = method_named("dgc").exchange(request);
    Vector point(209, 1.0f), agreed;
    for (std::uint64_t step = 1; step <= steps; ++step) {
      ASSERT_TRUE(
          exchange_step(*made.exchange, communicator, step, gradient_for(communicator.rank(), step), agreed));
      made.optimizer->apply(agreed, point, 0.1);
    }
    const std::lock_guard lock(mutex);
    if (result.empty()) result = point;
    EXPECT_EQ(point, result);
  });
  return result;
}

// The same by one process that sees the mean; momentum of tensor "w" as given.
Vector reference(OptimizerSettings optimizer, bool momentum_of_matrix, std::uint64_t steps) {
  const auto sgd = make_momentum_corrected_sgd(optimizer, two_tensors(), {!momentum_of_matrix, false});
  Vector point(209, 1.0f);
  for (std::uint64_t step = 1; step <= steps; ++step) {
    const Vector a = gradient_for(0, step), b = gradient_for(1, step);
    Vector mean(209);
    for (std::size_t i = 0; i < 209; ++i) mean[i] = (a[i] + b[i]) / 2;
    sgd->apply(mean, point, 0.1);
  }
  return point;
}

TEST(Dgc, WithEverythingSentMaskingMakesItPlainSgdAndWithoutMaskingItIsMomentumSgd) {
  for (const bool nesterov : {false, true}) {
    OptimizerSettings optimizer;
    optimizer.nesterov = nesterov;
    optimizer.weight_decay = 0.01;
    const std::vector<std::pair<std::string, std::string>> all = {{"ratio", "1"}, {"warmup_epochs", "0"}};
    auto unmasked = all;
    unmasked.push_back({"masking", "false"});
    const Vector masked_point = trained(all, optimizer, 6), plain = reference(optimizer, false, 6);
    const Vector unmasked_point = trained(unmasked, optimizer, 6), dense = reference(optimizer, true, 6);
    double difference = 0;
    for (std::size_t i = 0; i < 209; ++i) {
      // Nesterov sends u + g = m g + g once u is forgotten: plain SGD of another rate.
      if (!nesterov) {
        EXPECT_NEAR(masked_point[i], plain[i], 1e-4) << i;
      }
      EXPECT_NEAR(unmasked_point[i], dense[i], 1e-4) << i;
      difference += std::abs(plain[i] - dense[i]);
    }
    EXPECT_GT(difference, 1);
  }
}

TEST(Dgc, WhatWasSentAndWhatIsKeptAddUpToAllMomenta) {
  for (const char* masking : {"true", "false"}) {
    for (const char* values : {"f32", "f16"}) {
      run_ranks(1, [&](Communicator& communicator) {
        const ExchangeRequest request = dgc_request(
            two_tensors(),
            {{"ratio", "0.02"}, {"warmup_epochs", "0"}, {"masking", masking}, {"values", values}});
        const TrainingExchange made = method_named("dgc").exchange(request);
        const auto& exchange = dynamic_cast<const GatheredExchange&>(*made.exchange);
        std::vector<double> given(200, 0.0), sent(200, 0.0);
        Vector agreed;
        for (std::uint64_t step = 1; step <= 40; ++step) {
          const Vector own = gradient_for(0, step);
          // u as it is right after the momentum update.
          for (std::size_t i = 0; i < 200; ++i)
            given[i] += 0.9f * exchange.feedback(0)->momentum()[i] + own[i];
          ASSERT_TRUE(exchange_step(*made.exchange, communicator, step, own, agreed));
          std::size_t count = 0;
          for (std::size_t i = 0; i < 200; ++i) {
            sent[i] += agreed[i];
            count += agreed[i] != 0;
          }
          EXPECT_EQ(count, 4u);
          for (std::size_t i = 200; i < 209; ++i) EXPECT_EQ(agreed[i], own[i]) << "vectors are dense";
        }
        for (std::size_t i = 0; i < 200; ++i)
          EXPECT_NEAR(sent[i] + exchange.feedback(0)->velocity()[i], given[i], 2e-4) << i;
      });
    }
  }
}

TEST(Dgc, WithoutKeepingItRoundingIsLost) {
  run_ranks(1, [&](Communicator& communicator) {
    const ExchangeRequest request = dgc_request(
        {{"w", {1, 2}, 0, 2}},
        {{"ratio", "0.5"}, {"warmup_epochs", "0"}, {"values", "f16"}, {"keep_rounding", "false"}});
    const TrainingExchange made = method_named("dgc").exchange(request);
    const auto& exchange = dynamic_cast<const GatheredExchange&>(*made.exchange);
    Vector agreed;
    ASSERT_TRUE(exchange_step(*made.exchange, communicator, 1, {1.0001f, 0.5f}, agreed));
    EXPECT_EQ(agreed[0], 1.0f);
    EXPECT_EQ(exchange.feedback(0)->velocity()[0], 0.0f);
  });
}

TEST(Dgc, RanksAddWhatTheySendAtTheSamePlace) {
  run_ranks(3, [&](Communicator& communicator) {
    ExchangeRequest request = dgc_request({{"w", {2, 5}, 0, 10}}, {{"ratio", "0.1"}, {"warmup_epochs", "0"}});
    request.ranks = communicator.size();
    request.rank = communicator.rank();
    const TrainingExchange made = method_named("dgc").exchange(request);
    EXPECT_NEAR(made.clip_share, 1 / std::sqrt(3.0), 1e-12);
    Vector own(10, 0.1f), agreed;
    own[communicator.rank() == 2 ? 7 : 4] = static_cast<float>(communicator.rank() + 1);
    ASSERT_TRUE(exchange_step(*made.exchange, communicator, 1, own, agreed));
    const Vector wanted = {0, 0, 0, 0, 1, 0, 0, 1, 0, 0};
    for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(agreed[i], wanted[i], 1e-6) << i;
  });
}

TEST(Dgc, TheShareOfAnEpoch) {
  const dgc::SparsitySchedule schedule = dgc::exponential_schedule(0.001, 5);
  const double wanted[] = {0.3162, 0.1, 0.03162, 0.01, 0.003162, 0.001, 0.001};
  for (std::uint64_t epoch = 0; epoch < 7; ++epoch)
    EXPECT_NEAR(schedule.at(epoch), wanted[epoch], 1e-4 * wanted[epoch] + 1e-6) << epoch;
  Parameters parameters(method_named("dgc").parameters);
  parameters.set("warmup", "0.25_0.063_0.015_0.004");
  const dgc::SparsitySchedule listed = dgc::schedule_from(parameters);
  EXPECT_EQ(listed.warm_up, (std::vector<double>{0.25, 0.063, 0.015, 0.004}));
  EXPECT_EQ(listed.at(4), 0.001);
}

TEST(Dgc, EpochsChangeTheShareAndRefusedStepsChangeNothing) {
  run_ranks(2, [&](Communicator& communicator) {
    ExchangeRequest request = dgc_request(two_tensors(), {{"ratio", "0.01"}, {"warmup_epochs", "1"}});
    request.ranks = communicator.size();
    request.rank = communicator.rank();
    request.steps_per_epoch = 3;
    TrainingExchange made = method_named("dgc").exchange(request);
    Vector agreed, again;
    const std::size_t wanted[] = {20, 20, 20, 2, 2};
    for (std::uint64_t step = 1; step <= 5; ++step) {
      const Bytes before = made.exchange->save();
      Vector broken = gradient_for(communicator.rank(), 100 + step);
      if (communicator.rank() == 1) broken[step % 2 == 0 ? 11 : 205] = std::numeric_limits<float>::infinity();
      EXPECT_FALSE(exchange_step(*made.exchange, communicator, step, broken, agreed));
      EXPECT_EQ(made.exchange->save(), before);
      ASSERT_TRUE(
          exchange_step(*made.exchange, communicator, step, gradient_for(communicator.rank(), step), agreed));
      std::size_t count = 0;
      for (std::size_t i = 0; i < 200; ++i) count += agreed[i] != 0;
      EXPECT_GE(count, wanted[step - 1]);  // of two ranks
      EXPECT_LE(count, 2 * wanted[step - 1]);
    }
    // A state in the middle goes on with the same bits.
    TrainingExchange other = method_named("dgc").exchange(request);
    other.exchange->restore(made.exchange->save(), "state");
    const Vector own = gradient_for(communicator.rank(), 6);
    ASSERT_TRUE(exchange_step(*made.exchange, communicator, 6, own, agreed));
    ASSERT_TRUE(exchange_step(*other.exchange, communicator, 6, own, again));
    EXPECT_EQ(agreed, again);
  });
}

TEST(Dgc, RefusesWhatMakesNoSense) {
  const auto refused = [](const std::vector<std::pair<std::string, std::string>>& parameters,
                          OptimizerSettings::Kind kind = OptimizerSettings::Kind::sgd) {
    try {
      ExchangeRequest request = dgc_request(two_tensors(), parameters);
      request.optimizer.kind = kind;
      method_named("dgc").exchange(request);
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::usage;
    }
  };
  EXPECT_TRUE(refused({{"ratio", "0"}}));
  EXPECT_TRUE(refused({{"ratio", "1000"}}));
  EXPECT_TRUE(refused({{"warmup", "0.25_0.1"}, {"warmup_epochs", "3"}}));
  EXPECT_TRUE(refused({{"warmup", "0.25_0"}}));
  EXPECT_TRUE(refused({{"warmup", "0.25__0.1"}}));
  EXPECT_TRUE(refused({}, OptimizerSettings::Kind::adam));
  EXPECT_FALSE(refused({}));
}

}  // namespace
}  // namespace laconic
