// PowerSGD between ranks: exact where the rank suffices, telescoping errors, the same bits everywhere, no
// trace of refused steps, and states that go on with the same bits.
#include "engine/exchange/low_rank_exchange.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/orthonormalise.h"
#include "engine/transport/thread_world.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

std::vector<TensorSlice> some_tensors() {
  return {{"a", {12, 20}, 0, 240}, {"bias", {7}, 240, 7}, {"b", {16, 3, 3}, 247, 144}, {"c", {2}, 391, 2}};
}
constexpr std::size_t some_size = 393;

std::vector<float> gradient_of(int rank, std::uint64_t step) {
  RandomStream random(3, "low rank test", "gradient", step, static_cast<std::uint16_t>(rank));
  std::vector<float> gradient(some_size);
  for (float& value : gradient) value = random.gaussian();
  return gradient;
}

LowRankSettings small_buckets() {
  LowRankSettings settings;
  settings.seed = 11;
  settings.bucket_bytes = 1000;  // more than one bucket, and one of several tensors
  return settings;
}

std::unique_ptr<LowRankExchange> make(std::int64_t rank, const LowRankSettings& settings = small_buckets()) {
  return std::make_unique<LowRankExchange>(
      some_tensors(), std::vector<std::int64_t>{rank, 0, std::min<std::int64_t>(rank, 9), 0}, settings);
}

// By rank: the agreed vectors of all steps, joined.
std::vector<std::vector<float>> run(int ranks, std::uint64_t steps, std::int64_t rank,
                                    const std::function<std::vector<float>(int, std::uint64_t)>& gradient) {
  std::vector<std::vector<float>> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = make(rank);
    std::vector<float> agreed;
    for (std::uint64_t step = 1; step <= steps; ++step) {
      EXPECT_TRUE(exchange_step(*exchange, communicator, step, gradient(communicator.rank(), step), agreed));
      auto& joined = all[static_cast<std::size_t>(communicator.rank())];
      joined.insert(joined.end(), agreed.begin(), agreed.end());
    }
  });
  return all;
}

TEST(Orthonormalise, ColumnsAreOrthonormalAndDependentOnesZero) {
  RandomStream random(1, "test", "orthonormalise");
  std::vector<float> a(50 * 6);
  for (float& value : a) value = random.gaussian();
  for (std::size_t i = 0; i < 50; ++i) a[i * 6 + 3] = 2 * a[i * 6] - a[i * 6 + 1], a[i * 6 + 5] = 0;
  const std::vector<float> before = a;
  orthonormalise_columns(a, 50, 6);
  for (std::size_t j = 0; j < 6; ++j) {
    for (std::size_t k = 0; k < 6; ++k) {
      double sum = 0;
      for (std::size_t i = 0; i < 50; ++i) sum += static_cast<double>(a[i * 6 + j]) * a[i * 6 + k];
      EXPECT_NEAR(sum, j == k && j != 3 && j != 5 ? 1 : 0, 1e-6) << j << ' ' << k;
    }
  }
  // The first column only changes its length.
  EXPECT_NEAR(a[0] / a[6], before[0] / before[6], 1e-5);
}

TEST(LowRankExchange, RanksHoldTheSameBits) {
  const auto all = run(4, 5, 2, gradient_of);
  for (const auto& one : all) EXPECT_EQ(one, all.front());
}

TEST(LowRankExchange, OneStepOfARankOneGradientIsItsMean) {
  // u v^T + small numbers of ranks that all have the same u: their mean has rank 1.
  const auto gradient = [](int rank, std::uint64_t) {
    std::vector<float> values(some_size, 0.25f * static_cast<float>(rank));
    RandomStream random(4, "low rank test", "u");
    std::vector<float> u(16), v(20);
    for (float& value : u) value = random.gaussian();
    random = RandomStream(4, "low rank test", "v", 0, static_cast<std::uint16_t>(rank));
    for (float& value : v) value = random.gaussian();
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < 20; ++j) values[i * 20 + j] = u[i] * v[j];
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = 0; j < 9; ++j) values[247 + i * 9 + j] = u[i] * v[j];
    return values;
  };
  const auto agreed = run(3, 1, 1, gradient).front();
  for (std::size_t i = 0; i < some_size; ++i) {
    const float mean = (gradient(0, 1)[i] + gradient(1, 1)[i] + gradient(2, 1)[i]) / 3;
    EXPECT_NEAR(agreed[i], mean, 1e-5) << i;
  }
}

// agreed_1 + .. + agreed_T + mean e_T = sum of mean gradients.
TEST(LowRankExchange, WhatWasAgreedAndWhatIsRememberedAddUpToAllGradients) {
  constexpr int ranks = 3;
  constexpr std::uint64_t steps = 12;
  std::vector<double> sum(some_size, 0.0), memory(some_size, 0.0), given(some_size, 0.0);
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = make(2);
    std::vector<float> agreed;
    for (std::uint64_t step = 1; step <= steps; ++step) {
      if (step == 5) exchange->set_rank(0, 4);
      if (step == 9) exchange->set_rank(0, 1);
      const std::vector<float> own = gradient_of(communicator.rank(), step);
      ASSERT_TRUE(exchange_step(*exchange, communicator, step, own, agreed));
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < some_size; ++i) {
        given[i] += own[i] / static_cast<double>(ranks);
        if (communicator.rank() == 0) sum[i] += agreed[i];
      }
    }
    const std::lock_guard lock(mutex);
    for (std::size_t tensor = 0; tensor < exchange->tensors().size(); ++tensor) {
      if (exchange->feedback(tensor) == nullptr) continue;
      const TensorSlice& slice = exchange->tensors()[tensor];
      for (std::size_t i = 0; i < slice.size; ++i)
        memory[slice.offset + i] += exchange->feedback(tensor)->error()[i] / static_cast<double>(ranks);
    }
  });
  for (std::size_t i = 0; i < some_size; ++i) EXPECT_NEAR(sum[i] + memory[i], given[i], 1e-4) << i;
}

// On a constant gradient, repeated steps are subspace iteration: the error of one step falls to that of the
// truncated decomposition.
TEST(LowRankExchange, WarmStartFindsTheLeadingSubspaceOfAConstantGradient) {
  RandomStream random(6, "low rank test", "spectrum");
  std::vector<float> left(12 * 12), right(20 * 12), gradient(some_size, 0.0f);
  for (float& value : left) value = random.gaussian();
  for (float& value : right) value = random.gaussian();
  orthonormalise_columns(left, 12, 12);
  orthonormalise_columns(right, 20, 12);
  double tail = 0;
  for (std::size_t k = 0; k < 12; ++k) {
    const double sigma = std::pow(0.5, static_cast<double>(k));
    if (k >= 2) tail += sigma * sigma;
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t j = 0; j < 20; ++j)
        gradient[i * 20 + j] += static_cast<float>(sigma) * left[i * 12 + k] * right[j * 12 + k];
  }
  LowRankSettings settings = small_buckets();
  settings.feedback = false;
  run_ranks(2, [&](Communicator& communicator) {
    const auto exchange = make(2, settings);
    std::vector<float> agreed;
    for (std::uint64_t step = 1; step <= 20; ++step)
      exchange_step(*exchange, communicator, step, gradient, agreed);
    double error = 0;
    for (std::size_t i = 0; i < 240; ++i) error += std::pow(static_cast<double>(gradient[i]) - agreed[i], 2);
    EXPECT_NEAR(std::sqrt(error), std::sqrt(tail), 1e-4);
  });
}

TEST(LowRankExchange, AGradientThatWasZeroIsSeenAgain) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto exchange = make(9);
    std::vector<float> agreed;
    const std::vector<float> zero(some_size, 0.0f);
    ASSERT_TRUE(exchange_step(*exchange, communicator, 1, zero, agreed));
    EXPECT_EQ(agreed, zero);
    const std::vector<float> own = gradient_of(0, 2);
    ASSERT_TRUE(exchange_step(*exchange, communicator, 2, own, agreed));
    // Rank 9 of [16, 9] is exact.
    for (std::size_t i = 247; i < 391; ++i) EXPECT_NEAR(agreed[i], own[i], 1e-4);
  });
}

TEST(LowRankExchange, ARefusedStepLeavesNothing) {
  const auto with = [](bool refuse, std::vector<float>& result) {
    std::mutex mutex;
    run_ranks(3, [&](Communicator& communicator) {
      const auto exchange = make(2);
      std::vector<float> agreed;
      for (std::uint64_t step = 1; step <= 3; ++step) {
        if (refuse && step == 3) {
          const Bytes before = exchange->save();
          for (const std::size_t place : {std::size_t{5}, std::size_t{242}, std::size_t{300}}) {
            std::vector<float> broken = gradient_of(communicator.rank(), 77);
            if (communicator.rank() == 1) broken[place] = std::numeric_limits<float>::quiet_NaN();
            EXPECT_FALSE(exchange_step(*exchange, communicator, step, broken, agreed));
            EXPECT_EQ(exchange->save(), before);
          }
        }
        EXPECT_TRUE(
            exchange_step(*exchange, communicator, step, gradient_of(communicator.rank(), step), agreed));
      }
      const std::lock_guard lock(mutex);
      if (communicator.rank() == 0) result = agreed;
    });
  };
  std::vector<float> clean, disturbed;
  with(false, clean);
  with(true, disturbed);
  EXPECT_EQ(clean, disturbed);
}

TEST(LowRankExchange, AStateGoesOnWithTheSameBits) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto first = make(3);
    std::vector<float> agreed, again;
    for (std::uint64_t step = 1; step <= 4; ++step) {
      if (step == 3) first->set_rank(0, 5);
      exchange_step(*first, communicator, step, gradient_of(communicator.rank(), step), agreed);
    }
    const Bytes state = first->save();
    const auto second = make(3);
    second->restore(state, "state");
    EXPECT_EQ(second->rank(0), 5);
    const std::vector<float> own = gradient_of(communicator.rank(), 5);
    exchange_step(*first, communicator, 5, own, agreed);
    exchange_step(*second, communicator, 5, own, again);
    EXPECT_EQ(agreed, again);

    Bytes damaged = state;
    damaged[damaged.size() / 2] ^= std::byte{1};
    const auto expect = [&](const Bytes& bytes, LowRankExchange& exchange, ErrorKind kind) {
      try {
        exchange.restore(bytes, "state");
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind);
      }
    };
    expect(damaged, *second, ErrorKind::corrupt);
    expect(Bytes(3), *second, ErrorKind::corrupt);
    expect(state, *make(2), ErrorKind::usage);
  });
}

TEST(LowRankExchange, BytesAreThoseOfTheFactors) {
  run_ranks(4, [&](Communicator& communicator) {
    LowRankSettings settings;
    const auto exchange = make(2, settings);  // one bucket
    std::vector<float> agreed;
    const auto before = communicator.traffic(Exchange::all_reduce).sent_bytes;
    exchange_step(*exchange, communicator, 1, gradient_of(communicator.rank(), 1), agreed);
    const double sent = static_cast<double>(communicator.traffic(Exchange::all_reduce).sent_bytes - before);
    // P of 2 (12 + 16) numbers with 9 dense ones, Q of 2 (20 + 9): parts are multiples of 16 numbers.
    const double numbers = 2 * (12 + 16) + 9 + 2 * (20 + 9);
    EXPECT_NEAR(sent, 1.5 * 4 * numbers, 1.5 * 4 * 64);
  });
}

// In 16 bits: half the bytes, the same bits everywhere, and what rounding loses is remembered.
TEST(LowRankExchange, FactorsInBf16SendHalfAndLoseNothing) {
  constexpr int ranks = 3;
  LowRankSettings settings;
  std::uint64_t sent[2] = {0, 0};
  std::vector<double> sum(some_size, 0.0), memory(some_size, 0.0), given(some_size, 0.0);
  std::vector<std::vector<float>> last(ranks);
  std::mutex mutex;
  for (const DenseForm form : {DenseForm::f32, DenseForm::bf16}) {
    settings.factors = form;
    const bool counted = form == DenseForm::bf16;
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto exchange = make(2, settings);
      std::vector<float> agreed;
      for (std::uint64_t step = 1; step <= 8; ++step) {
        const std::vector<float> own = gradient_of(communicator.rank(), step);
        ASSERT_TRUE(exchange_step(*exchange, communicator, step, own, agreed));
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < some_size && counted; ++i) {
          given[i] += own[i] / static_cast<double>(ranks);
          if (communicator.rank() == 0) sum[i] += agreed[i];
        }
      }
      const std::lock_guard lock(mutex);
      last[static_cast<std::size_t>(communicator.rank())] = agreed;
      if (communicator.rank() == 0) sent[counted ? 1 : 0] = communicator.traffic().sent_bytes;
      for (std::size_t tensor = 0; tensor < exchange->tensors().size() && counted; ++tensor) {
        if (exchange->feedback(tensor) == nullptr) continue;
        const TensorSlice& slice = exchange->tensors()[tensor];
        for (std::size_t i = 0; i < slice.size; ++i)
          memory[slice.offset + i] += exchange->feedback(tensor)->error()[i] / static_cast<double>(ranks);
      }
    });
    for (const auto& one : last) EXPECT_EQ(one, last.front());
  }
  EXPECT_NEAR(static_cast<double>(sent[1]) / static_cast<double>(sent[0]), 0.5, 0.05);
  const auto tensors = some_tensors();
  for (const std::size_t compressed : {0, 2}) {
    const TensorSlice& slice = tensors[compressed];
    for (std::size_t i = slice.offset; i < slice.offset + slice.size; ++i)
      EXPECT_NEAR(sum[i] + memory[i], given[i], 1e-4) << i;
  }
}

}  // namespace
}  // namespace laconic
