// EControl, EF21-W and MASHA against their cards (03, 04 and 08): worked numbers and exact properties.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/compressed_descent.h"
#include "methods/gradients/ef21-weighted/step_sizes.h"
#include "methods/gradients/exact_channels.h"
#include "methods/gradients/extragradient.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/problems/bilinear_saddle.h"
#include "methods/gradients/problems/rank_one_quadratics.h"
#include "methods/gradients/problems/scaled_quadratics.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

// C(z) = z / 2: delta = 3/4.
class HalvingChannel : public Channel {
 public:
  std::string text() const override { return "half"; }
  void encode_into(std::span<const double> vector, const MessageKey& key, Bytes& message) const override {
    std::vector<double> half(vector.begin(), vector.end());
    for (double& value : half) value /= 2;
    exact_channel()->encode_into(half, key, message);
  }
  void decode(ByteSpan message, std::span<double> vector) const override {
    exact_channel()->decode(message, vector);
  }
  CodecProperties properties(std::size_t) const override { return {}; }
};

// f = x^2 / 2 for one worker.
class Parabola : public Oracle {
 public:
  std::size_t dimension() const override { return 1; }
  int workers() const override { return 1; }
  void evaluate(std::span<const double> point, int, std::uint64_t,
                std::span<double> gradient) const override {
    gradient[0] = point[0];
  }
};

DescentSettings descent_of(bool error, bool estimator, double eta, double step) {
  DescentSettings settings;
  settings.form.error = error;
  settings.form.estimator = estimator;
  settings.form.eta = eta;
  settings.step = step;
  return settings;
}

TEST(EControl, WorkedExampleOfCard03) {
  const Parabola problem;
  const HalvingChannel channel;
  const auto workers = local_workers(1);
  DescentSettings settings = descent_of(true, true, 0.5, 1);
  settings.start = DescentSettings::Start::zero;
  CompressedDescent descent(problem, *workers, channel, settings, {2});
  const double expected[3][3] = {{1, 1, 1}, {-0.25, 0.75, 1.25}, {-0.9375, -0.1875, 0.6875}};  // x, e, h
  for (const auto& row : expected) {
    descent.step();
    EXPECT_EQ(descent.point()[0], row[0]);
    EXPECT_EQ(descent.memory(0).error()[0], row[1]);
    EXPECT_EQ(descent.memory(0).estimate()[0], row[2]);
  }
}

ScaledQuadratics noisy_quadratics() {
  ScaledQuadraticsSettings settings;
  settings.dimension = 40;
  settings.heterogeneity = 10;
  settings.noise = 5;
  settings.seed = 3;
  return ScaledQuadratics(settings);
}

TEST(EControl, WithoutFeedbackItIsEf21BitForBit) {
  const ScaledQuadratics problem = noisy_quadratics();
  const auto a = local_workers(5), b = local_workers(5);
  const auto channel = exact_top_k_channel(4);
  const std::vector<double> start(40, 1.0);
  CompressedDescent control(problem, *a, *channel, descent_of(true, true, 0, 0.03), start),
      ef21(problem, *b, *channel, descent_of(false, true, 0, 0.03), start);
  for (int t = 0; t < 100; ++t) {
    control.step();
    ef21.step();
  }
  EXPECT_EQ(control.point(), ef21.point());
}

TEST(EControl, WithoutCompressionItIsSgdAndHasNoError) {
  const ScaledQuadratics problem = noisy_quadratics();
  const auto a = local_workers(5), b = local_workers(5);
  const auto channel = exact_channel();
  const std::vector<double> start(40, 1.0);
  CompressedDescent control(problem, *a, *channel, descent_of(true, true, 0.3, 0.03), start),
      sgd(problem, *b, *channel, descent_of(false, false, 0, 0.03), start);
  for (int t = 0; t < 100; ++t) {
    control.step();
    sgd.step();
    for (int i = 0; i < 5; ++i) {
      for (const double value : control.memory(i).error()) EXPECT_EQ(value, 0);
    }
  }
  for (std::size_t j = 0; j < 40; ++j) EXPECT_NEAR(control.point()[j], sgd.point()[j], 1e-11);
}

TEST(EControl, TheErrorIsWhatWasNotSentAndTheServerHoldsTheMean) {
  const ScaledQuadratics problem = noisy_quadratics();
  const auto workers = local_workers(5);
  const auto channel = exact_top_k_channel(4);
  DescentSettings settings = descent_of(true, true, 0.1, 0.03);
  settings.start = DescentSettings::Start::zero;
  CompressedDescent descent(problem, *workers, *channel, settings, std::vector<double>(40, 1.0));
  // sum (g - h) - sum D of worker 2; h grows by D, so sum D is h.
  std::vector<double> deficit(40), gradient(40);
  for (std::uint64_t t = 1; t <= 60; ++t) {
    problem.evaluate(descent.point(), 2, t, gradient);
    for (std::size_t j = 0; j < 40; ++j) deficit[j] += gradient[j] - descent.memory(2).estimate()[j];
    descent.step();
    for (std::size_t j = 0; j < 40; ++j) {
      EXPECT_NEAR(deficit[j] - descent.memory(2).estimate()[j], descent.memory(2).error()[j], 1e-10);
      double mean = 0;
      for (int i = 0; i < 5; ++i) mean += descent.memory(i).estimate()[j] / 5;
      EXPECT_NEAR(descent.direction()[j], mean, 1e-10);
    }
  }
}

TEST(EControl, WhoStaysAwayKeepsItsMemoriesAndTheRestConverges) {
  ScaledQuadraticsSettings form;
  form.dimension = 20;
  form.heterogeneity = 5;
  const ScaledQuadratics problem(form);
  const auto channel = exact_top_k_channel(4);
  DescentSettings settings = descent_of(true, true, 0.1, 0.02);
  settings.participation = 0.6;
  settings.seed = 4;
  const auto workers = local_workers(5);
  CompressedDescent descent(problem, *workers, *channel, settings, std::vector<double>(20, 1.0));
  std::uint64_t before = 0;
  bool somebody_was_away = false;
  for (int t = 0; t < 6000; ++t) {
    descent.step();
    if (t > 0) somebody_was_away = somebody_was_away || descent.bytes_up() - before < 5 * (4 * 8 + 3);
    before = descent.bytes_up();
  }
  EXPECT_TRUE(somebody_was_away);
  EXPECT_LT(problem.gap(descent.point()), 1e-10);
  run_ranks(2, [&](Communicator& communicator) {
    const auto own = distributed_workers(communicator, 5);
    CompressedDescent there(problem, *own, *channel, settings, std::vector<double>(20, 1.0));
    const auto all = local_workers(5);
    CompressedDescent here(problem, *all, *channel, settings, std::vector<double>(20, 1.0));
    for (int t = 0; t < 30; ++t) {
      there.step();
      here.step();
    }
    EXPECT_EQ(there.point(), here.point());
  });
  settings.form.estimator = false;
  EXPECT_THROW(CompressedDescent(problem, *workers, *channel, settings, std::vector<double>(20)), Error);
}

// f(x) - f* + (gamma / (2 theta)) sum w_i |g_i - grad_i / (n w_i)|^2 does not grow at the step of theory.
TEST(Ef21Weighted, TheLyapunovFunctionDoesNotGrow) {
  const int n = 20;
  const std::size_t d = 6;
  const RankOneQuadratics problem(d, n, 1.5, 2);
  const double alpha = 1.0 / static_cast<double>(d), theta = 1 - std::sqrt(1 - alpha);
  DescentSettings settings = descent_of(false, true, 0, 1);
  settings.step = ef21_step(problem.smoothness(), arithmetic_mean(problem.worker_smoothness()), alpha);
  settings.weights = smoothness_weights(problem.worker_smoothness());
  settings.start = DescentSettings::Start::compressed;
  const auto workers = local_workers(n);
  const auto channel = exact_top_k_channel(1);
  CompressedDescent descent(problem, *workers, *channel, settings, std::vector<double>(d, 1.0));
  std::vector<double> gradient(d);
  double before = 0;
  for (int t = 0; t < 300; ++t) {
    descent.step();
    // After a step the memories belong to the point before it: they are compared at the next gradient.
    double sum = 0, weighted_of_first = 0;
    for (int i = 0; i < n; ++i) {
      const double weight = settings.weights[static_cast<std::size_t>(i)];
      std::vector<double> point = descent.point();
      for (std::size_t j = 0; j < d; ++j) point[j] += settings.step * descent.direction()[j];
      problem.evaluate(point, i, 0, gradient);
      double square = 0;
      for (std::size_t j = 0; j < d; ++j) {
        const double difference = descent.memory(i).estimate()[j] - gradient[j] / (n * weight);
        square += difference * difference;
      }
      sum += weight * square;
      weighted_of_first += weight * descent.memory(i).estimate()[0];
    }
    EXPECT_NEAR(descent.direction()[0], weighted_of_first, 1e-9);
    std::vector<double> point = descent.point();
    for (std::size_t j = 0; j < d; ++j) point[j] += settings.step * descent.direction()[j];
    const double now = problem.gap(point) + settings.step / (2 * theta) * sum;
    EXPECT_TRUE(t == 0 || now <= before * (1 + 1e-9) + 1e-13) << t;
    before = now;
  }
}

// The weighted exchange of training: with everything sent it is the mean, and weights are checked.
TEST(Ef21Weighted, ItsExchangeAgreesOnTheMeanAndRefusesWrongWeights) {
  const MethodDescription& method = method_named("ef21-weighted");
  const auto made = [&](int rank, const std::string& smoothness) {
    ExchangeRequest request;
    request.tensors = {{"w", {30}, 0, 30}};
    request.parameters = Parameters(method.parameters);
    request.parameters.set("fraction", "1");
    request.parameters.set("smoothness", smoothness);
    request.ranks = 3;
    request.rank = rank;
    return method.exchange(request);
  };
  run_ranks(3, [&](Communicator& communicator) {
    const TrainingExchange training = made(communicator.rank(), "4_1_0.5");
    std::vector<float> own(30), agreed(30);
    for (std::uint64_t step = 1; step <= 3; ++step) {
      for (std::size_t j = 0; j < 30; ++j)
        own[j] = static_cast<float>(communicator.rank()) + static_cast<float>(j * step);
      EXPECT_TRUE(exchange_step(*training.exchange, communicator, step, own, agreed));
      for (std::size_t j = 0; j < 30; ++j) EXPECT_NEAR(agreed[j], 1 + static_cast<float>(j * step), 1e-4);
    }
  });
  for (const std::string wrong : {"4_1", "4_1_0", "4_1_x", "4_1_-2", "measured"})
    EXPECT_THROW(made(0, wrong), Error) << wrong;
}

TEST(EControl, ItsExchangeTakesEtaFromTheLeastFavourableTensor) {
  const MethodDescription& method = method_named("econtrol");
  ExchangeRequest request;
  request.tensors = {{"w", {100}, 0, 100}, {"b", {40}, 100, 40}};
  request.parameters = Parameters(method.parameters);
  request.parameters.set("fraction", "0.02");
  EXPECT_NE(method.exchange(request).exchange->text().find("eta 0.02 "), std::string::npos);
  request.parameters.set("eta", "0.9");
  std::string said;
  request.message = [&](std::string_view text) { said = text; };
  method.exchange(request);
  EXPECT_NE(said.find("unstable"), std::string::npos);
}

ExtragradientSettings masha_of(ExtragradientSettings::Variant variant, double step, double tau) {
  ExtragradientSettings settings;
  settings.variant = variant;
  settings.step = step;
  settings.tau = tau;
  return settings;
}

using Variant = ExtragradientSettings::Variant;

std::vector<double> mean_of_operators(const Oracle& oracle, const std::vector<double>& point) {
  std::vector<double> mean(point.size()), own(point.size());
  for (int i = 0; i < oracle.workers(); ++i) {
    oracle.evaluate(point, i, 0, own);
    for (std::size_t j = 0; j < own.size(); ++j) mean[j] += own[j] / oracle.workers();
  }
  return mean;
}

// E[z+ | z, w] is the step without compression.
TEST(Masha, TheFirstVariantIsUnbiased) {
  const BilinearSaddle problem(3, 4, 1, 5);
  const std::vector<double> start = {1, -1, 0.5, 0.2, 2, -0.3};
  const double gamma = 0.05;
  const std::vector<double> at_w = mean_of_operators(problem, start);
  std::vector<double> half = start;
  for (std::size_t j = 0; j < 6; ++j) half[j] -= gamma * at_w[j];
  const std::vector<double> at_half = mean_of_operators(problem, half);
  constexpr int draws = 20000;
  std::vector<double> sum(6), squares(6);
  for (int draw = 0; draw < draws; ++draw) {
    const auto workers = local_workers(4);
    const auto channel = exact_rand_k_channel(2, static_cast<std::uint64_t>(draw));
    Extragradient loop(problem, *workers, *channel, nullptr, masha_of(Variant::masha1, gamma, 1), start);
    loop.step();
    for (std::size_t j = 0; j < 6; ++j) {
      sum[j] += loop.point()[j] / draws;
      squares[j] += loop.point()[j] * loop.point()[j] / draws;
    }
  }
  for (std::size_t j = 0; j < 6; ++j) {
    const double deviation = std::sqrt(std::max(0.0, squares[j] - sum[j] * sum[j]) / draws);
    EXPECT_NEAR(sum[j], half[j] - gamma * (at_half[j] - at_w[j]), 4 * deviation + 1e-12);
  }
}

// z - mean e_m - e moves as the uncompressed method would from the same points.
TEST(Masha, TheSecondVariantsVirtualIterateIsUncompressed) {
  const BilinearSaddle problem(5, 3, 1, 6);
  const auto workers = local_workers(3);
  const auto channel = exact_top_k_channel(2);
  const double gamma = 0.02;
  const std::vector<double> start(10, 0.5);
  Extragradient loop(problem, *workers, *channel, channel.get(), masha_of(Variant::masha2, gamma, 1), start);
  const std::vector<double> at_w = mean_of_operators(problem, start);  // tau 1: w stays
  const auto errors = [&] {
    std::vector<double> sum(10);
    if (loop.steps() == 0) return sum;
    for (std::size_t j = 0; j < 10; ++j) {
      sum[j] = loop.server_memory().error()[j];
      for (int m = 0; m < 3; ++m) sum[j] += loop.memory(m).error()[j] / 3;
    }
    return sum;
  };
  for (int t = 0; t < 50; ++t) {
    std::vector<double> half = loop.point();
    for (std::size_t j = 0; j < 10; ++j) half[j] -= gamma * at_w[j];
    const std::vector<double> at_half = mean_of_operators(problem, half), before = errors();
    loop.step();
    const std::vector<double> after = errors();
    for (std::size_t j = 0; j < 10; ++j) {
      const double expected = half[j] - gamma * (at_half[j] - at_w[j]) - before[j];
      EXPECT_NEAR(loop.point()[j] - after[j], expected, 1e-10);
    }
  }
}

TEST(Masha, BothVariantsConvergeLinearly) {
  const BilinearSaddle problem(10, 5, 1, 7);
  for (const Variant variant : {Variant::masha1, Variant::masha2}) {
    const auto workers = local_workers(5);
    const auto channel = variant == Variant::masha1 ? exact_rand_k_channel(4, 1) : exact_top_k_channel(4);
    Extragradient loop(problem, *workers, *channel, nullptr,
                       masha_of(variant, 0.1 / problem.lipschitz(), 0.8), std::vector<double>(20));
    // Regression of log distance on steps.
    double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
    while (loop.steps() < 1500 && problem.distance(loop.point()) > 1e-24) {
      loop.step();
      if (loop.steps() < 50) continue;
      const auto t = static_cast<double>(loop.steps());
      const double value = std::log(problem.distance(loop.point()));
      n += 1, x += t, y += value, xx += t * t, xy += t * value, yy += value * value;
    }
    const double covariance = xy - x * y / n, variance = (xx - x * x / n) * (yy - y * y / n);
    EXPECT_GT(covariance * covariance / variance, 0.99);
    EXPECT_LT(covariance, 0);
  }
}

TEST(Masha, ASavedRunGoesOnTheSameAndOthersAreRefused) {
  const BilinearSaddle problem(6, 3, 1, 8);
  const auto workers = local_workers(3);
  const auto channel = exact_top_k_channel(3);
  const ExtragradientSettings settings = masha_of(Variant::masha2, 0.03, 0.8);
  Extragradient whole(problem, *workers, *channel, channel.get(), settings, std::vector<double>(12)),
      again(problem, *workers, *channel, channel.get(), settings, std::vector<double>(12));
  for (int t = 0; t < 20; ++t) whole.step();
  const Bytes saved = whole.save();
  again.restore(saved, "checkpoint");
  for (int t = 0; t < 20; ++t) {
    whole.step();
    again.step();
  }
  EXPECT_EQ(whole.point(), again.point());
  EXPECT_EQ(whole.bytes_up(), again.bytes_up());
  EXPECT_EQ(whole.refreshes(), again.refreshes());
  Extragradient other(problem, *workers, *channel, channel.get(), masha_of(Variant::masha2, 0.02, 0.8),
                      std::vector<double>(12));
  EXPECT_THROW(other.restore(saved, "checkpoint"), Error);
  for (std::size_t at = 0; at < saved.size(); at += 53) {
    Bytes flipped = saved;
    flipped[at] ^= std::byte{4};
    EXPECT_THROW(again.restore(flipped, "checkpoint"), Error) << at;
  }
}

TEST(Masha, DivergenceHalvesTheStepUntilItConverges) {
  const BilinearSaddle problem(6, 3, 1, 9);
  const auto channel = exact_top_k_channel(3);
  for (const Variant variant : {Variant::masha2, Variant::dense}) {
    const auto workers = local_workers(3);
    Extragradient loop(problem, *workers, *channel, nullptr, masha_of(variant, 8 / problem.lipschitz(), 0.8),
                       std::vector<double>(12, 1.0));
    for (int t = 0; t < 6000; ++t) loop.step();
    if (variant == Variant::dense) continue;  // top-k without memory has a floor: it only has to stay finite
    EXPECT_GT(loop.halvings(), 0);
    EXPECT_LT(problem.distance(loop.point()), 1e-6);
  }
  const auto workers = local_workers(3);
  for (const double tau : {-0.1, 1.1}) {
    EXPECT_THROW(Extragradient(problem, *workers, *channel, nullptr, masha_of(Variant::masha2, 0.1, tau),
                               std::vector<double>(12)),
                 Error);
  }
  EXPECT_THROW(Extragradient(problem, *workers, *channel, nullptr, masha_of(Variant::masha2, 0, 0.5),
                             std::vector<double>(12)),
               Error);
  EXPECT_THROW(Extragradient(problem, *workers, *channel, nullptr, masha_of(Variant::masha2, 0.1, 0.5),
                             std::vector<double>(11)),
               Error);
}

}  // namespace
}  // namespace laconic
