// Means through owners in a codec's bytes: the same bits on all ranks, the bytes of 2 (W - 1) / W messages,
// memories that lose nothing, refusals that leave nothing behind, states that go on.
#include "engine/exchange/owned_codec_exchange.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/transport/thread_world.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

constexpr int ranks = 4;
constexpr std::size_t size = 8192 + 40 + 20000;

std::vector<TensorSlice> tensors() {
  return {{"matrix", {64, 128}, 0, 8192}, {"bias", {40}, 8192, 40}, {"wide", {100, 200}, 8232, 20000}};
}

std::vector<float> numbers_of(int rank, std::uint64_t step) {
  const RandomStream random(3, "test", "owned", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

std::unique_ptr<OwnedCodecExchange> owned(int rank, const std::string& codec, bool remembers,
                                          std::size_t bucket_bytes = 50'000) {
  OwnedCodecSettings settings;
  if (remembers) settings.feedback = plain_error_feedback();
  settings.seed = 5;
  settings.ranks = ranks;
  settings.rank = rank;
  settings.bucket_bytes = bucket_bytes;
  const std::shared_ptr<const TensorCodec> shared = parse_codec(codec);
  return std::make_unique<OwnedCodecExchange>(
      tensors(), std::vector<std::shared_ptr<const TensorCodec>>(3, shared), settings);
}

std::vector<float> true_mean(std::uint64_t step) {
  std::vector<float> sum(size, 0.0f);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<float> own = numbers_of(rank, step);
    for (std::size_t j = 0; j < size; ++j) sum[j] += own[j] / ranks;
  }
  return sum;
}

TEST(OwnedCodecExchange, AllRanksHoldTheSameBitsNearTheMean) {
  for (const char* codec : {"uniform(bits=8,group=1024)", "qsgd(bits=8,block=16)", "raw(dtype=bf16)"}) {
    std::vector<std::vector<float>> agreed(ranks);
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto exchange = owned(communicator.rank(), codec, false);
      ASSERT_GT(exchange->buckets().size(), 1u);
      EXPECT_TRUE(exchange_step(*exchange, communicator, 1, numbers_of(communicator.rank(), 1),
                                agreed[static_cast<std::size_t>(communicator.rank())]));
    });
    for (int rank = 1; rank < ranks; ++rank)
      EXPECT_EQ(agreed[0], agreed[static_cast<std::size_t>(rank)]) << codec;
    const std::vector<float> mean = true_mean(1);
    double off = 0, norm = 0;
    for (std::size_t j = 0; j < size; ++j) {
      off += (agreed[0][j] - mean[j]) * (agreed[0][j] - mean[j]);
      norm += mean[j] * mean[j];
    }
    EXPECT_LT(std::sqrt(off / norm), 0.05) << codec;
  }
}

TEST(OwnedCodecExchange, EightBitsSendAQuarterOfARing) {
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto exchange = owned(communicator.rank(), "uniform(bits=8,group=1024)", false, 1 << 20);
    std::vector<float> agreed;
    const Traffic before = communicator.traffic();
    EXPECT_TRUE(exchange_step(*exchange, communicator, 1, numbers_of(communicator.rank(), 1), agreed));
    const double sent = static_cast<double>((communicator.traffic() - before).sent_bytes);
    const double ring = 2.0 * (ranks - 1) / ranks * 4 * size;
    EXPECT_LT(sent / ring, 0.27);
    EXPECT_GT(sent / ring, 0.25);
  });
}

// Over steps of the same input the mean of what is agreed approaches the mean: errors do not add up.
TEST(OwnedCodecExchange, MemoriesSendLaterWhatWasLost) {
  const auto drift = [](bool remembers) {
    std::vector<double> sum(size, 0.0);
    constexpr std::uint64_t steps = 32;
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto exchange = owned(communicator.rank(), "uniform(bits=2,group=1024)", remembers);
      std::vector<float> agreed;
      for (std::uint64_t step = 1; step <= steps; ++step) {
        EXPECT_TRUE(exchange_step(*exchange, communicator, step, numbers_of(communicator.rank(), 1), agreed));
        if (communicator.rank() != 0) continue;
        for (std::size_t j = 0; j < size; ++j) sum[j] += agreed[j] / static_cast<double>(steps);
      }
    });
    const std::vector<float> mean = true_mean(1);
    double off = 0;
    for (std::size_t j = 0; j < size; ++j) off += (sum[j] - mean[j]) * (sum[j] - mean[j]);
    return std::sqrt(off / size);
  };
  EXPECT_LT(drift(true), 0.2 * drift(false));
}

TEST(OwnedCodecExchange, RefusesOnAllRanksAndForgetsTheStep) {
  std::vector<std::vector<float>> plain(ranks), after(ranks);
  const auto run = [&](bool disturbed, std::vector<std::vector<float>>& agreed) {
    run_ranks(ranks, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const auto exchange = owned(rank, "uniform(bits=4,group=256)", true);
      std::vector<float>& result = agreed[static_cast<std::size_t>(rank)];
      EXPECT_TRUE(exchange_step(*exchange, communicator, 1, numbers_of(rank, 1), result));
      if (disturbed) {
        std::vector<float> own = numbers_of(rank, 2);
        if (rank == 2) own[9000] = INFINITY;
        EXPECT_FALSE(exchange_step(*exchange, communicator, 2, own, result));
      }
      EXPECT_TRUE(exchange_step(*exchange, communicator, 3, numbers_of(rank, 3), result));
    });
  };
  run(false, plain);
  run(true, after);
  EXPECT_EQ(plain, after);
}

TEST(OwnedCodecExchange, AStateGoesOnWithTheSameBits) {
  run_ranks(ranks, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const auto straight = owned(rank, "uniform(bits=4,group=256)", true);
    std::vector<float> one, other;
    for (std::uint64_t step = 1; step <= 3; ++step)
      EXPECT_TRUE(exchange_step(*straight, communicator, step, numbers_of(rank, step), one));
    const Bytes saved = straight->save();
    const auto resumed = owned(rank, "uniform(bits=4,group=256)", true);
    resumed->restore(saved, "test");
    EXPECT_TRUE(exchange_step(*straight, communicator, 4, numbers_of(rank, 4), one));
    EXPECT_TRUE(exchange_step(*resumed, communicator, 4, numbers_of(rank, 4), other));
    EXPECT_EQ(one, other);
    Bytes damaged = saved;
    damaged[damaged.size() / 3] ^= std::byte{2};
    EXPECT_THROW(resumed->restore(damaged, "test"), Error);
    EXPECT_THROW(owned(rank, "uniform(bits=5,group=256)", true)->restore(saved, "test"), Error);
  });
}

}  // namespace
}  // namespace laconic
