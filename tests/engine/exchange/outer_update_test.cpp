// The outer optimizer: trajectories worked out by hand, the methods it takes in as special cases, and steps
// by owners with the bits of whole ones.
#include "engine/exchange/outer_update.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/exchange/sharded_outer.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

using Gap = OuterForm::Gap;

std::vector<TensorSlice> one_number() { return {{"x", {1}, 0, 1}}; }

OuterForm delayed(double alpha, double beta, Gap gap = Gap::none) {
  OuterForm form;
  form.alpha = alpha;
  form.beta = beta;
  form.gap = gap;
  return form;
}

// f_i = (x - a_i)^2 / 2 with a = (0, 2): tau = 2 steps of rate 0.1 from x, and the mean of both workers.
float mean_after_two_steps(float x) {
  double sum = 0;
  for (const double a : {0.0, 2.0}) {
    double y = x;
    for (int k = 0; k < 2; ++k) y -= 0.1 * (y - a);
    sum += y;
  }
  return static_cast<float>(sum / 2);
}

struct Trajectory {
  std::vector<double> points, gaps;
};

// Rounds with the mean one round late, as many points as wanted.
Trajectory trajectory(const OuterForm& form, std::size_t points) {
  const float start = 5;
  OuterUpdate update(form, one_number(), {{{0, 1}}}, {&start, 1});
  Trajectory result{{start}, {}};
  std::vector<float> in_flight;
  while (result.points.size() < points) {
    const float mean = mean_after_two_steps(update.point()[0]);
    if (in_flight.empty()) {
      update.stay();
    } else {
      result.gaps.push_back(update.advance(in_flight, RoundMean::points, 1, 1).gap);
    }
    in_flight = {mean};
    result.points.push_back(update.point()[0]);
  }
  return result;
}

void expect_points(const std::vector<double>& got, const std::vector<double>& wanted, double off = 2e-6) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], off) << i;
}

TEST(OuterUpdate, TheWorkedScalarWithMomentumAHalfOvershoots) {
  expect_points(trajectory(delayed(1, 0.5), 9).points,
                {5, 5, 4.24, 3.1, 1.9144, 0.9226, 0.252964, -0.067148, -0.085267});
}

TEST(OuterUpdate, TheWorkedScalarWithMomentumAFifth) {
  expect_points(trajectory(delayed(1, 0.2), 9).points,
                {5, 5, 4.24, 3.328, 2.53, 1.92808, 1.516996, 1.258444, 1.108504});
}

TEST(OuterUpdate, TheWorkedScalarWithThePenaltyIsMonotone) {
  const Trajectory damped = trajectory(delayed(1, 0.5, Gap::whole), 9);
  expect_points(damped.points, {5, 5, 4.24, 3.48, 2.82451, 2.299702, 1.899403, 1.605036, 1.395087});
  expect_points(damped.gaps, {1, 2, 2.2346, 2.3911, 2.5139, 2.621, 2.7226}, 6e-5);
  // One number: a gap of its own is the gap of all.
  expect_points(trajectory(delayed(1, 0.5, Gap::tensor), 9).points, damped.points, 0);
  expect_points(trajectory(delayed(1, 0.5, Gap::element), 9).points, damped.points, 1e-6);
}

// A quadratic of contraction q: decays below alpha q + beta = 1 and grows above it.
double growth(double q, double beta) {
  const float start = 1;
  OuterUpdate update(delayed(1, beta), one_number(), {{{0, 1}}}, {&start, 1});
  update.stay();
  std::vector<double> sizes;
  for (int t = 0; t < 400; ++t) {
    const std::vector<float> gone = {static_cast<float>(q * update.point_before()[0])};
    update.advance(gone, RoundMean::displacements, 1, 1);
    sizes.push_back(std::abs(update.point()[0]) + std::abs(update.point_before()[0]));
  }
  return sizes.back() / sizes[99];
}

TEST(OuterUpdate, IsStableWhereAlphaQAndBetaSumToLessThanOne) {
  EXPECT_LT(growth(0.79, 0.2), 0.5);
  EXPECT_GT(growth(0.81, 0.2), 2);
}

TEST(OuterUpdate, EstimatesThePressureFromSecants) {
  const float start = 3;
  OuterUpdate update(delayed(0.5, 0.25), one_number(), {{{0, 1}}}, {&start, 1});
  update.stay();
  double pressure = 0;
  for (int t = 0; t < 12; ++t) {
    const std::vector<float> gone = {0.4f * update.point_before()[0]};
    pressure = update.advance(gone, RoundMean::displacements, 1, 1).pressure;
  }
  EXPECT_NEAR(pressure, 0.5 * 0.4 + 0.25, 1e-3);
}

TEST(OuterUpdate, WithoutDelayMomentumAndPenaltyIsTheMeanBitForBit) {
  OuterForm form;
  form.delay = 0;
  const std::vector<float> start = {1e-30f, 3.1f, -2e8f}, mean = {7.7f, 1e-8f, 0.1f};
  OuterUpdate update(form, {{"x", {3}, 0, 3}}, {{{0, 3}}}, start);
  update.advance(mean, RoundMean::points, 0.1, 0.1);
  EXPECT_EQ(std::vector<float>(update.point().begin(), update.point().end()), mean);
}

TEST(OuterUpdate, NesterovIsTheRuleOfItsPaper) {
  OuterForm form;
  form.delay = 0;
  form.alpha = 0.7;
  form.beta = 0.9;
  form.nesterov = true;
  const float start = 2;
  OuterUpdate update(form, one_number(), {{{0, 1}}}, {&start, 1});
  double x = 2, m = 0;
  for (int t = 0; t < 5; ++t) {
    const double d = 0.3 * x;
    m = 0.9 * m + d;
    x -= 0.7 * (d + 0.9 * m);
    const std::vector<float> gone = {0.3f * update.point()[0]};
    update.advance(gone, RoundMean::displacements, 1, 1);
    EXPECT_NEAR(update.point()[0], x, 1e-5);
  }
}

TEST(OuterUpdate, RatesCancelWhenTheyAreConstantAndScaleWhenNot) {
  OuterForm with = delayed(1, 0.5), without = with;
  with.rates = true;
  const std::vector<float> start = {4, -3}, mean = {3, -1};
  OuterUpdate a(with, {{"x", {2}, 0, 2}}, {{{0, 2}}}, start),
      b(without, {{"x", {2}, 0, 2}}, {{{0, 2}}}, start);
  for (int t = 0; t < 4; ++t) {
    a.advance(mean, RoundMean::points, 0.25, 0.25);
    b.advance(mean, RoundMean::points, 0.25, 0.25);
    EXPECT_EQ(a.point()[0], b.point()[0]) << "a power of two is exact";
  }
  OuterUpdate c(with, {{"x", {2}, 0, 2}}, {{{0, 2}}}, start);
  c.advance(mean, RoundMean::points, 0.25, 0.5);
  EXPECT_FLOAT_EQ(c.point()[0], 4 - 2 * (4 - 3));
}

TEST(OuterUpdate, TheMomentumNeverLeavesItsBound) {
  OuterForm form = delayed(3, 0.9);
  form.clip = 0.1;
  RandomStream random(1, "test", "clip");
  std::vector<float> start(64);
  for (float& x : start) x = random.gaussian();
  OuterUpdate update(form, {{"x", {64}, 0, 64}}, {{{0, 64}}}, start);
  for (int t = 0; t < 50; ++t) {
    std::vector<float> gone(64);
    for (float& d : gone) d = 3 * random.gaussian();
    const OuterStep step = update.advance(gone, RoundMean::displacements, 1, 1);
    EXPECT_LE(step.largest, 0.1);
    for (const float m : update.momentum()) EXPECT_LE(std::abs(static_cast<double>(m)), 0.1);
  }
}

TEST(OuterUpdate, AFirstMeanOfWorkersThatWentOnIsThePointTheyLeft) {
  OuterForm form = delayed(1, 0.5);
  form.keep_local = true;
  const std::vector<float> start = {2, 0}, mean = {1, 0.5};
  for (const RoundMean what : {RoundMean::points, RoundMean::displacements}) {
    OuterUpdate update(form, {{"x", {2}, 0, 2}}, {{{0, 2}}}, start);
    update.stay();
    update.adopt(what == RoundMean::points ? mean : std::vector<float>{1, -0.5}, what, 1);
    EXPECT_EQ(update.point()[0], 1);
    EXPECT_EQ(update.point_before()[1], 0.5f);
    EXPECT_EQ(update.momentum()[0], 1);
  }
}

TEST(OuterUpdate, AStateGoesOnWithTheSameBits) {
  const std::vector<TensorSlice> tensors = {{"x", {3, 5}, 0, 15}, {"y", {4}, 15, 4}};
  const OuterForm form = delayed(0.8, 0.3, Gap::tensor);
  RandomStream random(2, "test", "state");
  const std::vector<float> start(19, 0.5f);
  const std::vector<std::vector<NumberRun>> parts = {{{0, 10}}, {{10, 9}}};
  OuterUpdate straight(form, tensors, parts, start);
  straight.stay();
  std::vector<std::vector<float>> means(9, std::vector<float>(19));
  for (std::vector<float>& mean : means) {
    for (float& x : mean) x = random.gaussian();
  }
  for (int t = 0; t < 5; ++t) straight.advance(means[static_cast<std::size_t>(t)], RoundMean::points, 1, 1);
  OuterUpdate resumed(form, tensors, parts, start);
  resumed.set_state(straight.state(), "test");
  for (std::size_t t = 5; t < means.size(); ++t) {
    const OuterStep a = straight.advance(means[t], RoundMean::points, 1, 1);
    const OuterStep b = resumed.advance(means[t], RoundMean::points, 1, 1);
    EXPECT_EQ(a.gap, b.gap);
    EXPECT_EQ(a.pressure, b.pressure);
    for (std::size_t j = 0; j < 19; ++j) EXPECT_EQ(straight.point()[j], resumed.point()[j]);
  }
  std::vector<NamedNumbers> broken = straight.state();
  broken[0].numbers.pop_back();
  EXPECT_THROW(resumed.set_state(broken, "test"), Error);
  broken = straight.state();
  broken[1].name = "another";
  EXPECT_THROW(resumed.set_state(broken, "test"), Error);
  broken = straight.state();
  broken[2].numbers[3] = NAN;
  EXPECT_THROW(resumed.set_state(broken, "test"), Error);
}

TEST(OuterUpdate, RefusesFormsThatMakeNoSense) {
  const auto refused = [](auto change) {
    OuterForm form;
    change(form);
    EXPECT_THROW(check_outer_form(form, "test"), Error);
  };
  refused([](OuterForm& form) { form.alpha = 0; });
  refused([](OuterForm& form) { form.alpha = -1; });
  refused([](OuterForm& form) { form.beta = 1; });
  refused([](OuterForm& form) { form.beta = -0.1; });
  refused([](OuterForm& form) { form.beta = NAN; });
  refused([](OuterForm& form) { form.clip = 0; });
  refused([](OuterForm& form) { form.clip = NAN; });
  refused([](OuterForm& form) { form.delay = 2; });
  refused([](OuterForm& form) {
    form.gap = Gap::constant;
    form.gap_constant = 0.5;
  });
  refused([](OuterForm& form) {
    form.delay = 0;
    form.keep_local = true;
  });
}

class ByOwners : public testing::TestWithParam<Gap> {};

// Random contributions of three ranks over several rounds: the points of owners against whole ones.
TEST_P(ByOwners, MoveTheBitsOfTheWholeStep) {
  const std::vector<TensorSlice> tensors = {
      {"a", {7, 11}, 0, 77}, {"b", {13}, 77, 13}, {"c", {5, 9}, 90, 45}};
  constexpr std::size_t size = 135;
  constexpr int ranks = 3;
  for (const int delay : {0, 1}) {
    OuterForm form = delayed(0.9, 0.4, GetParam());
    form.delay = delay;
    form.gap_constant = 1.5;
    form.clip = 0.8;
    form.rates = true;
    const std::vector<Bucket> buckets = buckets_of(tensors, 200);
    ASSERT_GT(buckets.size(), 1u);
    const std::vector<float> start(size, 0.25f);
    run_ranks(ranks, [&](Communicator& communicator) {
      ShardedOuter owners(form, tensors, buckets, ranks, communicator.rank(), start);
      OuterUpdate whole(form, tensors, bucket_parts(buckets, ranks), start);
      EXPECT_LT(owners.update().kept(), size / 2);
      if (delay == 1) whole.stay();
      std::vector<float> point(size);
      for (std::uint64_t round = 1; round <= 6; ++round) {
        const RandomStream random(7, "test", "owners", round,
                                  static_cast<std::uint16_t>(communicator.rank()));
        std::vector<float> own(size);
        for (std::size_t j = 0; j < size; ++j) own[j] = random.gaussian_at(j);
        const double then = 0.1 * static_cast<double>(round), now = then + 0.05 * delay;
        EXPECT_TRUE(owners.reduce(communicator, own, point, RoundMean::points, then, now));
        std::vector<float> mean = own;
        for (const Bucket& bucket : buckets)
          all_reduce_sum(communicator, std::span(mean).subspan(bucket.offset, bucket.size));
        for (float& x : mean) x /= ranks;
        const OuterStep step = whole.advance(mean, RoundMean::points, then, now);
        EXPECT_EQ(step.gap, owners.last_step().gap);
        EXPECT_EQ(step.pressure, owners.last_step().pressure);
        EXPECT_EQ(std::vector<float>(whole.point().begin(), whole.point().end()), point);
      }
      // A number that is not finite on one rank moves nobody.
      const std::vector<float> before = point;
      std::vector<float> own(size, 0.0f);
      if (communicator.rank() == 1) own[77] = NAN;
      EXPECT_FALSE(owners.reduce(communicator, own, point, RoundMean::points, 1, 1));
      EXPECT_EQ(point, before);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Gaps, ByOwners,
                         testing::Values(Gap::none, Gap::constant, Gap::whole, Gap::tensor, Gap::element));

}  // namespace
}  // namespace laconic
