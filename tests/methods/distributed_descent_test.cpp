// The loops of methods/gradients on problems whose answers are known (cards 03, 04 and 08).
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/compressed_descent.h"
#include "methods/gradients/exact_channels.h"
#include "methods/gradients/extragradient.h"

namespace laconic {
namespace {

using Field = std::function<void(std::span<const double>, int, std::uint64_t, std::span<double>)>;

class Given : public Oracle {
 public:
  Given(std::size_t dimension, int workers, Field field)
      : dimension_(dimension), workers_(workers), field_(std::move(field)) {}
  std::size_t dimension() const override { return dimension_; }
  int workers() const override { return workers_; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                std::span<double> vector) const override {
    field_(point, worker, sample, vector);
  }

 private:
  std::size_t dimension_;
  int workers_;
  Field field_;
};

// f_i = 1/2 |a_i x - b_i|^2 in 30 dimensions, the a_i apart.
Given quadratics(int workers) {
  return {30, workers, [](std::span<const double> x, int i, std::uint64_t, std::span<double> g) {
            const double a = 0.3 + 0.4 * i;
            const RandomStream random(1, "quadratics", std::to_string(i));
            for (std::size_t j = 0; j < x.size(); ++j) g[j] = a * (a * x[j] - random.gaussian_at(j));
          }};
}

// F(z) = z, M devices.
Given identity(int devices, std::size_t dimension) {
  return {dimension, devices, [](std::span<const double> z, int, std::uint64_t, std::span<double> f) {
            std::copy(z.begin(), z.end(), f.begin());
          }};
}

DescentSettings settings_of(bool error, bool estimator, double eta, double step) {
  DescentSettings settings;
  settings.form.error = error;
  settings.form.estimator = estimator;
  settings.form.eta = eta;
  settings.step = step;
  return settings;
}

double gradient_norm(const Oracle& oracle, const std::vector<double>& x) {
  std::vector<double> sum(x.size()), own(x.size());
  for (int i = 0; i < oracle.workers(); ++i) {
    oracle.evaluate(x, i, 0, own);
    for (std::size_t j = 0; j < x.size(); ++j) sum[j] += own[j] / oracle.workers();
  }
  double square = 0;
  for (const double value : sum) square += value * value;
  return std::sqrt(square);
}

TEST(CompressedDescent, EstimatorsConvergeWherePlainCompressionStalls) {
  const Given problem = quadratics(5);
  const auto channel = exact_top_k_channel(3);
  const auto reached = [&](const DescentSettings& settings) {
    const auto workers = local_workers(5);
    CompressedDescent descent(problem, *workers, *channel, settings, std::vector<double>(30, 1.0));
    for (int t = 0; t < 4000; ++t) EXPECT_TRUE(descent.step());
    return gradient_norm(problem, descent.point());
  };
  EXPECT_LT(reached(settings_of(false, true, 0, 0.05)), 1e-10) << "EF21";
  EXPECT_LT(reached(settings_of(true, true, 0.1, 0.05)), 1e-10) << "EControl";
  EXPECT_GT(reached(settings_of(false, false, 0, 0.05)), 1e-2) << "compressed gradient descent";
  EXPECT_GT(reached(settings_of(true, false, 1, 0.05)), 1e-5) << "EF: a floor from the workers' differences";
}

// Card 04: n = 2, d = 2, f_1 = 2 x_1^2, f_2 = x_2^2 / 2 + x_2, w = (0.8, 0.2).
TEST(CompressedDescent, WeightedEstimatorsSumToTheGradient) {
  const Given problem(2, 2, [](std::span<const double> x, int i, std::uint64_t, std::span<double> g) {
    g[0] = i == 0 ? 4 * x[0] : 0;
    g[1] = i == 0 ? 0 : x[1] + 1;
  });
  const auto workers = local_workers(2);
  const auto channel = exact_channel();
  DescentSettings settings = settings_of(false, true, 0, 1e-9);
  settings.weights = {0.8, 0.2};
  CompressedDescent descent(problem, *workers, *channel, settings, {1, 1});
  descent.step();
  EXPECT_NEAR(descent.memory(0).estimate()[0], 2.5, 1e-6);
  EXPECT_NEAR(descent.memory(1).estimate()[1], 5, 1e-6);
  EXPECT_NEAR(descent.direction()[0], 2, 1e-6);
  EXPECT_NEAR(descent.direction()[1], 1, 1e-6);
}

// Card 04: with a homogeneous channel the weights change nothing but the bookkeeping.
TEST(CompressedDescent, WeightsDoNotMoveTopK) {
  const Given problem = quadratics(4);
  const auto channel = exact_top_k_channel(2);
  const auto a = local_workers(4), b = local_workers(4);
  DescentSettings weighted = settings_of(false, true, 0, 0.02);
  weighted.weights = {0.1, 0.2, 0.3, 0.4};
  CompressedDescent plain(problem, *a, *channel, settings_of(false, true, 0, 0.02),
                          std::vector<double>(30, 1.0));
  CompressedDescent with(problem, *b, *channel, weighted, std::vector<double>(30, 1.0));
  for (int t = 0; t < 200; ++t) {
    plain.step();
    with.step();
  }
  for (std::size_t j = 0; j < 30; ++j) EXPECT_NEAR(plain.point()[j], with.point()[j], 1e-12);
}

TEST(CompressedDescent, RanksOfACommunicatorHoldTheBitsOfOneProcess) {
  const Given problem = quadratics(5);
  const auto channel = codec_channel("randk(fraction=0.2)", 3, "x");
  const DescentSettings settings = settings_of(true, true, 0.2, 0.02);
  const auto all = local_workers(5);
  CompressedDescent here(problem, *all, *channel, settings, std::vector<double>(30, 1.0));
  for (int t = 0; t < 50; ++t) here.step();
  run_ranks(3, [&](Communicator& c) {
    const auto own = distributed_workers(c, 5);
    CompressedDescent there(problem, *own, *channel, settings, std::vector<double>(30, 1.0));
    for (int t = 0; t < 50; ++t) there.step();
    EXPECT_EQ(there.point(), here.point());
    EXPECT_EQ(there.bytes_up(), here.bytes_up());
    EXPECT_GT(c.traffic().sent_bytes, 0u);
  });
}

TEST(CompressedDescent, ASavedRunGoesOnTheSameAndOthersAreRefused) {
  const Given problem = quadratics(3);
  const auto workers = local_workers(3);
  const auto channel = codec_channel("qsgd(bits=3,block=8)", 1, "x");
  const DescentSettings settings = settings_of(true, true, 0.3, 0.02);
  const std::vector<double> start(30, 1.0);
  CompressedDescent whole(problem, *workers, *channel, settings, start),
      again(problem, *workers, *channel, settings, start);
  for (int t = 0; t < 20; ++t) whole.step();
  const Bytes saved = whole.save();
  again.restore(saved, "checkpoint");
  for (int t = 0; t < 20; ++t) {
    whole.step();
    again.step();
  }
  EXPECT_EQ(whole.point(), again.point());
  EXPECT_EQ(whole.bytes_up(), again.bytes_up());
  CompressedDescent other(problem, *workers, *channel, settings_of(false, true, 0, 0.02), start);
  EXPECT_THROW(other.restore(saved, "checkpoint"), Error);
  for (std::size_t at = 0; at < saved.size(); at += 97) {
    Bytes flipped = saved;
    flipped[at] ^= std::byte{4};
    EXPECT_THROW(again.restore(flipped, "checkpoint"), Error) << at;
  }
}

TEST(CompressedDescent, AGradientThatIsNotFiniteChangesNothingAnywhere) {
  const Given problem(4, 3, [](std::span<const double> x, int i, std::uint64_t sample, std::span<double> g) {
    for (std::size_t j = 0; j < x.size(); ++j) g[j] = sample == 3 && i == 1 ? std::nan("") : x[j] + i;
  });
  const auto workers = local_workers(3);
  const auto channel = exact_top_k_channel(1);
  CompressedDescent descent(problem, *workers, *channel, settings_of(true, true, 0.2, 0.1), {1, 2, 3, 4});
  EXPECT_TRUE(descent.step());
  EXPECT_TRUE(descent.step());
  const std::vector<double> before = descent.point();
  const Bytes memory = descent.memory(0).save();
  EXPECT_FALSE(descent.step());
  EXPECT_EQ(descent.point(), before);
  EXPECT_EQ(descent.memory(0).save(), memory);
  EXPECT_EQ(descent.refused_steps(), 1u);
  EXPECT_TRUE(descent.step());
}

TEST(CompressedDescent, SettingsThatMakeNoSenseAreRefused) {
  const Given problem = quadratics(3);
  const auto workers = local_workers(3);
  const auto channel = exact_channel();
  const auto refused = [&](auto change) {
    DescentSettings settings = settings_of(false, true, 0, 0.1);
    change(settings);
    EXPECT_THROW(CompressedDescent(problem, *workers, *channel, settings, std::vector<double>(30)), Error);
  };
  refused([](DescentSettings& s) { s.step = 0; });
  refused([](DescentSettings& s) { s.weights = {0.5, 0.5}; });
  refused([](DescentSettings& s) { s.weights = {0.5, 0.5, 0.5}; });
  refused([](DescentSettings& s) { s.weights = {1, 0, 0}; });
  EXPECT_THROW(CompressedDescent(problem, *workers, *channel, settings_of(false, true, 0, 0.1), {1.0}),
               Error);
  EXPECT_THROW(exact_top_k_channel(0), Error);
}

TEST(Extragradient, WithoutCompressionAndWithARefreshEveryStepItIsExtragradient) {
  const Given problem = quadratics(3);
  const auto a = local_workers(3), b = local_workers(3);
  const auto channel = exact_channel();
  ExtragradientSettings masha, dense;
  masha.step = dense.step = 0.1;
  masha.tau = 0;
  dense.variant = ExtragradientSettings::Variant::dense;
  Extragradient x(problem, *a, *channel, channel.get(), masha, std::vector<double>(30, 1.0));
  Extragradient y(problem, *b, *channel, channel.get(), dense, std::vector<double>(30, 1.0));
  for (int t = 0; t < 40; ++t) {
    x.step();
    y.step();
    for (std::size_t j = 0; j < 30; ++j) EXPECT_NEAR(x.point()[j], y.point()[j], 1e-12);
  }
}

// Card 08: F(z) = z, gamma 1/2, tau 1/2: z1 = 0.75, then 0.6875 without a refresh.
TEST(Extragradient, WorkedExampleOfCard08) {
  const Given problem = identity(1, 1);
  const auto channel = exact_channel();
  ExtragradientSettings settings;
  settings.step = settings.tau = 0.5;
  bool seen = false;
  for (settings.seed = 0; settings.seed < 20 && !seen; ++settings.seed) {
    const auto workers = local_workers(1);
    Extragradient run(problem, *workers, *channel, nullptr, settings, {1});
    run.step();
    EXPECT_DOUBLE_EQ(run.point()[0], 0.75);
    if (run.refreshes() > 0) continue;
    run.step();
    EXPECT_DOUBLE_EQ(run.point()[0], 0.6875);
    seen = true;
  }
  EXPECT_TRUE(seen);
}

TEST(Extragradient, AFixedPointStaysForAnyMessages) {
  const Given problem = identity(3, 12);
  const auto top = exact_top_k_channel(2);
  const auto random = codec_channel("randk(fraction=0.25)", 1, "z");
  for (const auto variant :
       {ExtragradientSettings::Variant::masha1, ExtragradientSettings::Variant::masha2}) {
    const auto workers = local_workers(3);
    ExtragradientSettings settings;
    settings.variant = variant;
    settings.step = 0.2;
    const Channel& channel = variant == ExtragradientSettings::Variant::masha1 ? *random : *top;
    Extragradient run(problem, *workers, channel, &channel, settings, std::vector<double>(12));
    for (int t = 0; t < 30; ++t) run.step();
    for (const double value : run.point()) EXPECT_EQ(value, 0);
  }
}

// min_x max_y of sum x^T A_m y + ..: MASHA converges where naive compression stalls.
TEST(Extragradient, MashaConvergesOnASaddleWhereNaiveCompressionDoesNot) {
  const std::size_t n = 8;
  const Given problem(2 * n, 4, [](std::span<const double> z, int m, std::uint64_t, std::span<double> f) {
    const std::size_t half = z.size() / 2;
    const RandomStream a(2, "saddle", std::to_string(m));
    for (std::size_t i = 0; i < half; ++i) {
      f[i] = z[i] + 5 * a.gaussian_at(1000 + i);
      f[half + i] = z[half + i] - 5 * a.gaussian_at(2000 + i);
    }
    for (std::size_t i = 0; i < half; ++i) {
      for (std::size_t j = 0; j < half; ++j) {
        f[i] += a.gaussian_at(i * half + j) * z[half + j];
        f[half + j] -= a.gaussian_at(i * half + j) * z[i];
      }
    }
  });
  const auto distance = [&](ExtragradientSettings::Variant variant, const Channel& channel, double step) {
    const auto workers = local_workers(4);
    ExtragradientSettings settings;
    settings.variant = variant;
    settings.step = step;
    settings.tau = 0.8;
    Extragradient run(problem, *workers, channel, nullptr, settings, std::vector<double>(2 * n));
    for (int t = 0; t < 4000; ++t) run.step();
    return gradient_norm(problem, run.point());
  };
  const auto random = codec_channel("randk(fraction=0.25)", 1, "z");
  const auto top = exact_top_k_channel(4);
  using Variant = ExtragradientSettings::Variant;
  EXPECT_LT(distance(Variant::masha1, *random, 0.03), 1e-9);
  EXPECT_LT(distance(Variant::masha2, *top, 0.03), 1e-9);
  EXPECT_GT(distance(Variant::naive, *random, 0.03), 1e-3);
  const auto biased = codec_channel("outliers(fraction=0.25)", 1, "z");
  const auto workers = local_workers(4);
  ExtragradientSettings settings;
  settings.step = 0.1;
  EXPECT_THROW(Extragradient(problem, *workers, *biased, nullptr, settings, std::vector<double>(2 * n)),
               Error);
}

}  // namespace
}  // namespace laconic
