// The exchange of codec messages: what all ranks get is what each has decoded, nothing is lost for ever, a
// refused step leaves nothing behind, and states go on with the same bits.
#include "engine/exchange/gathered_exchange.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/transport/thread_world.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

constexpr int ranks = 3;
constexpr std::uint64_t steps = 6;

std::vector<TensorSlice> tensors() {
  return {{"matrix", {16, 25}, 0, 400}, {"bias", {16}, 400, 16}, {"vector", {2000}, 416, 2000}};
}

std::vector<float> gradient_of(int rank, std::uint64_t step) {
  const RandomStream random(3, "test", "gradient", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(2416);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

FeedbackForm estimator_form() {
  FeedbackForm form;
  form.estimator = true;
  return form;
}

std::unique_ptr<GatheredExchange> made(int rank, const std::string& codec, std::optional<FeedbackForm> form,
                                       std::size_t bucket_bytes = 4000, bool whole_start = false) {
  const std::shared_ptr<const TensorCodec> shared = parse_codec(codec);
  GatheredSettings settings;
  settings.rank = rank;
  settings.seed = 5;
  settings.bucket_bytes = bucket_bytes;
  settings.compare_every = 2;
  settings.whole_start = whole_start;
  return std::make_unique<GatheredExchange>(
      tensors(), std::vector<TensorTravel>{{shared, form}, {}, {shared, form}}, settings);
}

// Agreed vectors by rank and step.
std::vector<std::vector<std::vector<float>>> run(const std::string& codec, std::optional<FeedbackForm> form) {
  std::vector<std::vector<std::vector<float>>> agreed(ranks);
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = made(communicator.rank(), codec, form);
    for (std::uint64_t step = 1; step <= steps; ++step) {
      std::vector<float> result(exchange->size());
      EXPECT_TRUE(
          exchange_step(*exchange, communicator, step, gradient_of(communicator.rank(), step), result));
      agreed[static_cast<std::size_t>(communicator.rank())].push_back(result);
    }
  });
  return agreed;
}

TEST(GatheredExchange, AllRanksHoldTheSameBits) {
  for (const char* codec : {"outliers(fraction=0.05)", "qsgd(bits=4,block=64)", "sign", "uniform(bits=4)"}) {
    const auto agreed = run(codec, plain_error_feedback());
    EXPECT_EQ(agreed[0], agreed[1]) << codec;
    EXPECT_EQ(agreed[0], agreed[2]) << codec;
  }
}

// With whole numbers sent, the agreed vector is the mean.
TEST(GatheredExchange, ALosslessCodecGivesTheMean) {
  const auto agreed = run("raw(dtype=f32)", std::nullopt);
  for (std::uint64_t step = 1; step <= steps; ++step) {
    std::vector<float> mean(2416, 0.0f);
    for (int rank = 0; rank < ranks; ++rank) {
      const auto own = gradient_of(rank, step);
      for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += own[i];
    }
    for (std::size_t i = 0; i < mean.size(); ++i) {
      EXPECT_NEAR(agreed[0][step - 1][i], mean[i] / ranks, 1e-6) << i;
    }
  }
}

// Error feedback: what was agreed in all steps, and what is still remembered, add up to what was meant.
TEST(GatheredExchange, ErrorFeedbackTelescopes) {
  std::vector<double> sum(2416, 0.0);
  std::mutex mutex;
  std::vector<double> agreed_sum;
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = made(communicator.rank(), "outliers(fraction=0.05)", plain_error_feedback());
    std::vector<double> agreed(2416, 0.0), meant(2416, 0.0);
    for (std::uint64_t step = 1; step <= steps; ++step) {
      const auto own = gradient_of(communicator.rank(), step);
      std::vector<float> result(own.size());
      exchange_step(*exchange, communicator, step, own, result);
      for (std::size_t i = 0; i < own.size(); ++i) {
        agreed[i] += result[i];
        meant[i] += own[i];
      }
    }
    for (const std::size_t tensor : {0, 2}) {
      const TensorSlice& slice = exchange->tensors()[tensor];
      for (std::size_t i = 0; i < slice.size; ++i)
        meant[slice.offset + i] -= exchange->feedback(tensor)->error()[i];
    }
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += meant[i] / ranks;
    agreed_sum = agreed;
  });
  for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(agreed_sum[i], sum[i], 1e-4) << i;
}

// EF21: the agreed vector is the mean of the ranks' estimators.
TEST(GatheredExchange, AnEstimatorsMeanIsAgreed) {
  std::vector<double> mean(2416, 0.0);
  std::vector<float> agreed;
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = made(communicator.rank(), "outliers(fraction=0.1)", estimator_form());
    std::vector<float> result(2416);
    for (std::uint64_t step = 1; step <= steps; ++step)
      exchange_step(*exchange, communicator, step, gradient_of(communicator.rank(), step), result);
    const std::lock_guard lock(mutex);
    agreed = result;
    for (const std::size_t tensor : {0, 2}) {
      const TensorSlice& slice = exchange->tensors()[tensor];
      for (std::size_t i = 0; i < slice.size; ++i)
        mean[slice.offset + i] += static_cast<double>(exchange->feedback(tensor)->estimate()[i]) / ranks;
    }
  });
  for (std::size_t i = 0; i < 400; ++i) EXPECT_NEAR(agreed[i], mean[i], 1e-5) << i;
  for (std::size_t i = 416; i < 2416; ++i) EXPECT_NEAR(agreed[i], mean[i], 1e-5) << i;
}

TEST(GatheredExchange, AWholeStartBeginsAtTheFirstGradients) {
  FeedbackForm form = estimator_form();
  form.error = true;
  form.eta = 0.1;
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto fresh = [&] { return made(communicator.rank(), "outliers(fraction=0.05)", form, 4000, true); };
    const auto exchange = fresh();
    std::vector<float> result(2416), again(2416);
    // A refused step does not count.
    auto broken = gradient_of(communicator.rank(), 1);
    if (communicator.rank() == 1) broken[3] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_FALSE(exchange_step(*exchange, communicator, 1, broken, result));
    const auto own = gradient_of(communicator.rank(), 2);
    const Traffic before = communicator.traffic();
    ASSERT_TRUE(exchange_step(*exchange, communicator, 2, own, result));
    const Traffic whole = communicator.traffic() - before;
    for (std::size_t i = 0; i < own.size(); ++i) {
      double mean = 0;
      for (int rank = 0; rank < ranks; ++rank) mean += static_cast<double>(gradient_of(rank, 2)[i]) / ranks;
      ASSERT_NEAR(result[i], mean, 1e-5) << i;
    }
    for (std::size_t i = 0; i < 400; ++i) {
      ASSERT_EQ(exchange->feedback(0)->estimate()[i], own[i]);
      ASSERT_EQ(exchange->feedback(0)->error()[i], 0);
    }
    // The next one is compressed, in a resumed exchange as well.
    const auto other = fresh();
    other->restore(exchange->save(), "state");
    const Traffic middle = communicator.traffic();
    ASSERT_TRUE(exchange_step(*exchange, communicator, 3, gradient_of(communicator.rank(), 3), result));
    EXPECT_LT((communicator.traffic() - middle).sent_bytes * 4, whole.sent_bytes);
    ASSERT_TRUE(exchange_step(*other, communicator, 3, gradient_of(communicator.rank(), 3), again));
    EXPECT_EQ(result, again);
    EXPECT_THROW(
        made(communicator.rank(), "outliers(fraction=0.05)", form)->restore(exchange->save(), "state"),
        Error);
  });
}

TEST(GatheredExchange, ARefusedStepLeavesNothingBehind) {
  for (const auto& form : {plain_error_feedback(), estimator_form()}) {
    std::vector<Bytes> before(ranks), after(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto index = static_cast<std::size_t>(communicator.rank());
      const auto exchange = made(communicator.rank(), "outliers(fraction=0.05)", form);
      std::vector<float> result(2416);
      exchange_step(*exchange, communicator, 1, gradient_of(communicator.rank(), 1), result);
      before[index] = exchange->save();
      for (const std::size_t place : {3u, 405u, 2000u}) {  // codec, f32 and codec tensors
        auto own = gradient_of(communicator.rank(), 2);
        if (communicator.rank() == 1) own[place] = std::numeric_limits<float>::infinity();
        EXPECT_FALSE(exchange_step(*exchange, communicator, 2, own, result)) << place;
      }
      after[index] = exchange->save();
      EXPECT_TRUE(exchange_step(*exchange, communicator, 3, gradient_of(communicator.rank(), 3), result));
    });
    EXPECT_EQ(before, after);
  }
}

TEST(GatheredExchange, AStateGoesOnWithTheSameBits) {
  for (const auto& form : {plain_error_feedback(), estimator_form()}) {
    std::vector<float> straight, resumed;
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto exchange = made(communicator.rank(), "qsgd(bits=4,block=64)", form);
      auto other = made(communicator.rank(), "qsgd(bits=4,block=64)", form);
      std::vector<float> result(2416), again(2416);
      for (std::uint64_t step = 1; step <= 3; ++step)
        exchange_step(*exchange, communicator, step, gradient_of(communicator.rank(), step), result);
      other->restore(exchange->save(), "state");
      exchange_step(*exchange, communicator, 4, gradient_of(communicator.rank(), 4), result);
      exchange_step(*other, communicator, 4, gradient_of(communicator.rank(), 4), again);
      EXPECT_EQ(result, again);
      Bytes damaged = exchange->save();
      damaged[damaged.size() / 2] ^= std::byte{1};
      EXPECT_THROW(other->restore(damaged, "state"), Error);
      const auto foreign = made(communicator.rank(), "qsgd(bits=2,block=64)", form);
      EXPECT_THROW(foreign->restore(exchange->save(), "state"), Error);
    });
  }
}

// Bytes: a rank sends its message to each of the others, and a small f32 tensor rides in it.
TEST(GatheredExchange, SendsLittleMoreThanTheCodecsFields) {
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange =
        made(communicator.rank(), "outliers(fraction=0.01,dtype=f16)", plain_error_feedback(), 1 << 20);
    std::vector<float> result(2416);
    const Traffic before = communicator.traffic();
    exchange_step(*exchange, communicator, 1, gradient_of(communicator.rank(), 1), result);
    const std::uint64_t sent = (communicator.traffic() - before).sent_bytes;
    // 24 values of 2 bytes, their positions in about a byte each, 16 numbers in f32, and names.
    EXPECT_LT(sent, 2u * (24 * 4 + 64 + 60));
    EXPECT_GT(sent, 2u * (24 * 2 + 64));
  });
}

}  // namespace
}  // namespace laconic
