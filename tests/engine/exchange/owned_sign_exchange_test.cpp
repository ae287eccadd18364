// The sign exchange against card 02: its worked example, what is sent and remembered adds up to what was
// meant, all ranks hold the same bits, and a refused step leaves nothing behind.
#include "engine/exchange/owned_sign_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/base/saved_state.h"
#include "engine/transport/collectives.h"
#include "engine/transport/thread_world.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

std::vector<TensorSlice> vector_of(std::size_t size) {
  return {{"all", {static_cast<std::int64_t>(size)}, 0, size}};
}
// Four tensors whose borders are no multiples of eight.
std::vector<TensorSlice> uneven_tensors() {
  return {{"a", {13, 7}, 0, 91}, {"b", {5}, 91, 5}, {"c", {40, 3}, 96, 120}, {"d", {11}, 216, 11}};
}
constexpr std::size_t uneven_size = 227;

std::vector<float> input_of(int rank, std::uint64_t step, std::size_t size) {
  const RandomStream random(11, "input", "numbers", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(size);
  for (std::size_t j = 0; j < size; ++j) {
    const float x = random.gaussian_at(j);
    values[j] = x * x * x + 0.3f;  // heavy tails, and a drift
  }
  return values;
}

OwnedSignSettings settings_for(const Communicator& communicator) {
  OwnedSignSettings settings;
  settings.ranks = communicator.size();
  settings.rank = communicator.rank();
  return settings;
}

void expect_near(std::span<const float> got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t j = 0; j < wanted.size(); ++j) EXPECT_NEAR(got[j], wanted[j], 1.5e-6) << j;
}

TEST(OwnedSignExchange, TheCardsExample) {
  run_ranks(2, [](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.align = 1;
    OwnedSignExchange exchange(vector_of(4), settings);
    const std::vector<float> own = communicator.rank() == 0 ? std::vector<float>{1, -2, 0.5f, 0}
                                                            : std::vector<float>{0.5f, 1, -1, -0.25f};
    std::vector<float> agreed(4);
    EXPECT_TRUE(exchange_step(exchange, communicator, 1, own, agreed));
    expect_near(agreed, {0.687500, -0.687500, 0.192649, 0.192649});
    if (communicator.rank() == 0) {
      expect_near(exchange.worker_error(0), {-0.145644, -0.854356, -0.645644, -1.145644});
      expect_near(exchange.owner_error(0), {0.265495, 0.494851});
    } else {
      expect_near(exchange.owner_error(0), {0, 0});
    }
  });
}

TEST(OwnedSignExchange, BytesAreThoseOfTheFormula) {
  constexpr int ranks = 4;
  constexpr std::size_t d = 1000;
  std::vector<std::uint64_t> sent(ranks);
  run_ranks(ranks, [&](Communicator& communicator) {
    OwnedSignExchange exchange(vector_of(d), settings_for(communicator));
    std::vector<float> agreed(d);
    exchange.begin_step(communicator, 1);
    const Traffic before = communicator.traffic();
    EXPECT_TRUE(exchange.exchange(communicator, 1, 0, input_of(communicator.rank(), 1, d), agreed));
    exchange.end_step(true);
    sent[static_cast<std::size_t>(communicator.rank())] = (communicator.traffic() - before).sent_bytes;
  });
  // Per phase and rank (W-1)/W d/8 + 4 (W-1), and 5 bytes of frame a message; padding is not sent. The last
  // rank owns 232 numbers instead of 256.
  std::uint64_t all = 0;
  for (const std::uint64_t bytes : sent) all += bytes;
  EXPECT_EQ(all, 2u * ((ranks - 1) * (d / 8) + ranks * (ranks - 1) * (4 + 5)));
  EXPECT_EQ(sent[0], (125u - 32) + 3 * 32 + 2 * 3 * 9);
}

struct Case {
  int ranks;
  OwnedSignSettings::Scale scale;
  std::size_t block, bucket_bytes;
  bool masked, mixed;
};

class OwnedSignCases : public testing::TestWithParam<Case> {};

TEST_P(OwnedSignCases, WhatWasSentAndWhatIsRememberedIsWhatWasMeant) {
  const Case& c = GetParam();
  constexpr std::uint64_t steps = 30;
  std::vector<std::vector<float>> outputs(static_cast<std::size_t>(c.ranks));
  std::vector<std::vector<double>> worker(static_cast<std::size_t>(c.ranks)),
      owner(static_cast<std::size_t>(c.ranks));
  std::vector<std::uint8_t> carried;
  if (c.masked) {
    carried.assign(uneven_size, 1);
    for (const std::size_t j : {0u, 3u, 4u, 91u, 92u, 93u, 94u, 95u, 130u, 215u}) carried[j] = 0;
  }
  std::vector<double> sum_sent(uneven_size, 0), sum_meant(uneven_size, 0);
  run_ranks(c.ranks, [&](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.scale = c.scale;
    settings.block = c.block;
    settings.bucket_bytes = c.bucket_bytes;
    if (c.mixed) settings.dense = {false, false, false, true};
    OwnedSignExchange exchange(uneven_tensors(), settings);
    if (c.masked) exchange.start_signs(carried);
    std::vector<float> agreed(uneven_size);
    const auto rank = static_cast<std::size_t>(communicator.rank());
    for (std::uint64_t step = 1; step <= steps; ++step) {
      // In place, as the trainer may do it.
      agreed = input_of(communicator.rank(), step, uneven_size);
      ASSERT_TRUE(exchange_step(exchange, communicator, step, agreed, agreed));
      outputs[rank].insert(outputs[rank].end(), agreed.begin(), agreed.end());
      if (rank != 0) continue;
      for (std::size_t j = 0; j < uneven_size; ++j) {
        sum_sent[j] += agreed[j];
        for (int i = 0; i < c.ranks; ++i)
          sum_meant[j] += static_cast<double>(input_of(i, step, uneven_size)[j]) / c.ranks;
      }
    }
    // Errors by number of the whole vector.
    worker[rank].assign(uneven_size, 0);
    owner[rank].assign(uneven_size, 0);
    for (std::size_t b = 0; b < exchange.buckets().size(); ++b) {
      const Bucket& bucket = exchange.buckets()[b];
      std::size_t at = 0;
      for (std::size_t j = bucket.offset; j < bucket.offset + bucket.size; ++j) {
        if ((c.masked && carried[j] == 0) || (c.mixed && j >= 216)) continue;
        worker[rank][j] = exchange.worker_error(b)[at];
        const auto& bounds = exchange.bounds(b);
        if (at >= bounds[rank] && at < bounds[rank + 1])
          owner[rank][j] = exchange.owner_error(b)[at - bounds[rank]];
        ++at;
      }
      EXPECT_EQ(at, exchange.worker_error(b).size());
    }
  });
  for (std::size_t r = 1; r < outputs.size(); ++r)
    EXPECT_EQ(outputs[r], outputs[0]) << "ranks hold the same bits";
  for (std::size_t j = 0; j < uneven_size; ++j) {
    if (c.masked && carried[j] == 0) {
      EXPECT_EQ(sum_sent[j], 0);
      continue;
    }
    double late = 0;
    for (std::size_t r = 0; r < outputs.size(); ++r) late += worker[r][j] / c.ranks + owner[r][j];
    EXPECT_NEAR(sum_sent[j] + late, sum_meant[j], 1e-4 * (1 + std::abs(sum_meant[j]))) << j;
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, OwnedSignCases,
                         testing::Values(Case{1, OwnedSignSettings::Scale::rms, 0, 25'000'000, false, false},
                                         Case{2, OwnedSignSettings::Scale::mean, 0, 25'000'000, false, false},
                                         Case{3, OwnedSignSettings::Scale::rms, 0, 500, false, false},
                                         Case{4, OwnedSignSettings::Scale::mean, 16, 25'000'000, true, false},
                                         Case{4, OwnedSignSettings::Scale::mean, 0, 500, true, true},
                                         Case{5, OwnedSignSettings::Scale::rms, 50, 25'000'000, false,
                                              true}));

TEST(OwnedSignExchange, ScalesOfAWholeTensorAtRanksAndOfThePartAtOwners) {
  run_ranks(2, [](Communicator& communicator) {
    for (const auto scale : {OwnedSignSettings::Scale::rms, OwnedSignSettings::Scale::mean}) {
      OwnedSignSettings settings = settings_for(communicator);
      settings.scale = scale;
      OwnedSignExchange exchange(vector_of(16), settings);
      std::vector<float> own(16, 1.0f), agreed(16);
      std::fill(own.begin() + 8, own.end(), 3.0f);
      EXPECT_TRUE(exchange_step(exchange, communicator, 1, own, agreed));
      const float wanted = scale == OwnedSignSettings::Scale::rms ? std::sqrt(5.0f) : 2.0f;
      EXPECT_THAT(agreed, testing::Each(testing::FloatEq(wanted)));
      settings.block = 8;
      OwnedSignExchange blocks(vector_of(16), settings);
      EXPECT_TRUE(exchange_step(blocks, communicator, 1, own, agreed));
      EXPECT_EQ(agreed, own) << "a block's scale fits it";
    }
  });
}

TEST(OwnedSignExchange, WithoutErrorsTheSameInputGivesTheSameOutput) {
  run_ranks(3, [](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.worker_error = settings.owner_error = false;
    OwnedSignExchange exchange(uneven_tensors(), settings);
    const std::vector<float> own = input_of(communicator.rank(), 1, uneven_size);
    std::vector<float> first(uneven_size), second(uneven_size);
    EXPECT_TRUE(exchange_step(exchange, communicator, 1, own, first));
    EXPECT_TRUE(exchange_step(exchange, communicator, 2, own, second));
    EXPECT_EQ(first, second);
    EXPECT_TRUE(exchange.worker_error(0).empty());
  });
}

TEST(OwnedSignExchange, DenseUntilSignsBegin) {
  run_ranks(3, [](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.starts_dense = true;
    OwnedSignExchange exchange(uneven_tensors(), settings);
    EXPECT_FALSE(exchange.sends_signs());
    std::vector<float> agreed(uneven_size);
    EXPECT_TRUE(
        exchange_step(exchange, communicator, 1, input_of(communicator.rank(), 1, uneven_size), agreed));
    for (std::size_t j = 0; j < uneven_size; ++j) {
      double mean = 0;
      for (int i = 0; i < 3; ++i) mean += input_of(i, 1, uneven_size)[j] / 3.0;
      EXPECT_NEAR(agreed[j], mean, 1e-5);
    }
    exchange.start_signs();
    EXPECT_TRUE(
        exchange_step(exchange, communicator, 2, input_of(communicator.rank(), 2, uneven_size), agreed));
    EXPECT_EQ(exchange.worker_error(0).size(), uneven_size);
  });
}

TEST(OwnedSignExchange, RanksThatBeginAtDifferentStepsAreFound) {
  try {
    run_ranks(2, [](Communicator& communicator) {
      OwnedSignSettings settings = settings_for(communicator);
      settings.starts_dense = true;
      OwnedSignExchange exchange(uneven_tensors(), settings);
      std::vector<std::uint8_t> carried(uneven_size, 1);
      carried[7] = static_cast<std::uint8_t>(communicator.rank());
      exchange.start_signs(carried);
      exchange.begin_step(communicator, 9);
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), testing::HasSubstr("ranks 0 and 1"));
  }
}

TEST(OwnedSignExchange, ARefusedStepLeavesNothingBehind) {
  run_ranks(3, [](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.bucket_bytes = 500;  // the others go on
    settings.dense = {false, false, false, true};
    OwnedSignExchange exchange(uneven_tensors(), settings), healthy(uneven_tensors(), settings);
    std::vector<float> agreed(uneven_size), wanted(uneven_size);
    const std::vector<float> first = input_of(communicator.rank(), 1, uneven_size);
    EXPECT_TRUE(exchange_step(exchange, communicator, 1, first, agreed));
    EXPECT_TRUE(exchange_step(healthy, communicator, 1, first, wanted));
    const Bytes before = exchange.save();
    for (const std::size_t at : {2u, 100u, 220u}) {
      std::vector<float> broken = input_of(communicator.rank(), 2, uneven_size);
      if (communicator.rank() == 1)
        broken[at] =
            at == 2 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
      EXPECT_FALSE(exchange_step(exchange, communicator, 2, broken, agreed)) << at;
      EXPECT_EQ(exchange.save(), before);
    }
    const std::vector<float> next = input_of(communicator.rank(), 3, uneven_size);
    EXPECT_TRUE(exchange_step(exchange, communicator, 3, next, agreed));
    EXPECT_TRUE(exchange_step(healthy, communicator, 3, next, wanted));
    EXPECT_EQ(agreed, wanted);
  });
}

TEST(OwnedSignExchange, ARestoredExchangeGoesOnWithTheSameBits) {
  run_ranks(3, [](Communicator& communicator) {
    OwnedSignSettings settings = settings_for(communicator);
    settings.starts_dense = true;
    OwnedSignExchange exchange(uneven_tensors(), settings), other(uneven_tensors(), settings);
    std::vector<std::uint8_t> carried(uneven_size, 1);
    carried[50] = 0;
    exchange.start_signs(carried);
    std::vector<float> agreed(uneven_size), again(uneven_size);
    for (std::uint64_t step = 1; step <= 4; ++step)
      exchange_step(exchange, communicator, step, input_of(communicator.rank(), step, uneven_size), agreed);
    Bytes bytes = exchange.save();
    other.restore(bytes, "test");
    EXPECT_TRUE(other.sends_signs());
    const std::vector<float> next = input_of(communicator.rank(), 5, uneven_size);
    exchange_step(exchange, communicator, 5, next, agreed);
    exchange_step(other, communicator, 5, next, again);
    EXPECT_EQ(agreed, again);
    EXPECT_EQ(exchange.save(), other.save());

    OwnedSignSettings blocks = settings;
    blocks.block = 64;
    EXPECT_THROW(OwnedSignExchange(uneven_tensors(), blocks).restore(bytes, "test"), Error);
    OwnedSignSettings more = settings;
    more.ranks = 4;
    EXPECT_THROW(OwnedSignExchange(uneven_tensors(), more).restore(bytes, "test"), Error);
    for (const std::size_t at : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      Bytes damaged = bytes;
      damaged[at] ^= std::byte{16};
      EXPECT_THROW(other.restore(damaged, "test"), Error);
    }
    bytes.pop_back();
    EXPECT_THROW(other.restore(bytes, "test"), Error);
  });
}

TEST(OwnedSignExchange, AStateThatCarriesNumbersBeyondTheLastIsRefused) {
  OwnedSignExchange exchange(vector_of(10), OwnedSignSettings());
  ByteWriter writer;
  writer.varint(1);
  writer.text(exchange.text());
  writer.text("rank 0 of 1");
  for (const unsigned byte : {1u, 1u, 255u, 7u}) writer.u8(static_cast<std::uint8_t>(byte));
  try {
    exchange.restore(sealed(std::move(writer)), "test");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), testing::HasSubstr("beyond the last"));
  }
}

Bytes message_of(std::vector<std::uint8_t> body, bool sealed) {
  Bytes bytes;
  for (const std::uint8_t byte : body) bytes.push_back(std::byte{byte});
  const auto hash = static_cast<std::uint32_t>(xxh3_64(bytes)) + (sealed ? 0u : 1u);
  for (unsigned k = 0; k < 4; ++k) bytes.push_back(std::byte(hash >> 8 * k));
  return bytes;
}

TEST(OwnedSignExchange, HostileMessagesAreRefused) {
  // One tensor of 10 numbers: the parts are 8 and 2, so rank 1's is a byte of flags, a scale, a byte of
  // signs.
  const std::vector<std::pair<Bytes, std::string>> messages = {
      {{}, "too short"},
      {message_of({0, 0, 0, 128, 63, 3}, false), "checksum"},
      {message_of({2, 0, 0, 128, 63, 3}, true), "neither signs nor a refusal"},
      {message_of({1, 0}, true), "too many"},
      {message_of({0, 0, 0, 128, 63}, true), "bytes where"},
      {message_of({0, 0, 0, 128, 63, 3, 0}, true), "bytes where"},
      {message_of({0, 0, 0, 128, 191, 3}, true), "scale"},
      {message_of({0, 0, 0, 128, 127, 3}, true), "scale"},
      {message_of({0, 0, 0, 128, 63, 7}, true), "beyond the last"},
  };
  for (std::size_t k = 0; k < messages.size(); ++k) {
    std::string said;
    run_ranks(2, [&](Communicator& communicator) {
      if (communicator.rank() == 0) {
        all_to_all(communicator, {Bytes(), messages[k].first});
        return;
      }
      OwnedSignExchange exchange(vector_of(10), settings_for(communicator));
      std::vector<float> agreed(10);
      try {
        exchange.exchange(communicator, 1, 0, std::vector<float>(10, 1.0f), agreed);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt);
        said = error.what();
      }
    });
    EXPECT_FALSE(said.empty()) << k;
    EXPECT_THAT(said, testing::HasSubstr(messages[k].second)) << k;
  }
}

TEST(OwnedSignExchange, TheTextSaysTheSettings) {
  OwnedSignSettings settings;
  const std::string plain = OwnedSignExchange(uneven_tensors(), settings).text();
  EXPECT_EQ(plain, "signs through owners, scale rms per tensor, worker error on, owner error on, parts of 8");
  settings.scale = OwnedSignSettings::Scale::mean;
  settings.block = 4096;
  settings.owner_error = false;
  settings.dense = {false, true, false, true};
  settings.starts_dense = true;
  EXPECT_EQ(OwnedSignExchange(uneven_tensors(), settings).text(),
            "signs through owners, scale mean per 4096 numbers, worker error on, owner error off, parts of "
            "8, dense at first, always dense tensors 1 3");
}

}  // namespace
}  // namespace laconic
