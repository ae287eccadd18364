// Means in blocks of integers: the bits that peers of the collective get, the same on all ranks, what
// rounding may lose, refusals that all ranks see.
#include "engine/exchange/block_quantized_exchange.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/error.h"
#include "engine/math/random_fill.h"
#include "engine/transport/thread_world.h"
#include "tests/engine/transport/tcp/peer_group.h"

namespace laconic {
namespace {

std::vector<float> gaussians(std::size_t size, int rank) {
  std::vector<float> numbers(size);
  random_gaussians(RandomStream(7, "test", "blocks", 0, static_cast<std::uint16_t>(rank)), numbers);
  return numbers;
}

BlockQuantizedSettings settings_of(QuantizedRoute route, int ranks, int rank) {
  BlockQuantizedSettings settings;
  settings.route = route;
  settings.ranks = ranks;
  settings.rank = rank;
  return settings;
}

struct Outcome {
  std::vector<std::vector<float>> results;  // by rank
  std::vector<bool> accepted;
  std::vector<std::uint64_t> sent;
};

Outcome means_of(const std::vector<std::vector<float>>& own, QuantizedRoute route,
                 const Quantization& quantization = BlockQuantizedSettings().quantization) {
  const int ranks = static_cast<int>(own.size());
  const std::size_t size = own.front().size();
  Outcome outcome{own, std::vector<bool>(own.size()), std::vector<std::uint64_t>(own.size())};
  std::vector<int> accepted(own.size());
  ThreadWorld world(ranks);
  run_rank_threads(ranks, [&](int rank) {
    const auto place = static_cast<std::size_t>(rank);
    BlockQuantizedSettings settings = settings_of(route, ranks, rank);
    settings.quantization = quantization;
    const auto exchange =
        block_quantized_exchange({{"all", {static_cast<std::int64_t>(size)}, 0, size}}, settings);
    const auto communicator = world.communicator(rank);
    exchange->begin_step(*communicator, 1);
    accepted[place] = exchange->exchange(*communicator, 1, 0, own[place], outcome.results[place]);
    exchange->end_step(accepted[place] != 0);
    outcome.sent[place] = communicator->traffic(Exchange::all_reduce).sent_bytes;
  });
  for (std::size_t i = 0; i < own.size(); ++i) outcome.accepted[i] = accepted[i] != 0;
  return outcome;
}

TEST(BlockQuantizedExchange, GivesTheBitsOfThePeersCollective) {
  for (const QuantizedRoute route : {QuantizedRoute::ring, QuantizedRoute::direct}) {
    for (const int ranks : {2, 3, 5}) {
      for (const std::size_t size :
           {std::size_t{1}, std::size_t{4}, std::size_t{1025}, std::size_t{70'001}}) {
        std::vector<std::vector<float>> own;
        for (int rank = 0; rank < ranks; ++rank) own.push_back(gaussians(size, rank));
        const Outcome outcome = means_of(own, route);
        std::vector<std::vector<float>> of_peers = own;
        PeerGroup group(own.size(), {}, true);
        const auto faults = group.run([&](std::size_t member) {
          AllReduceRequest request;
          request.source = request.destination = of_peers[member].data();
          request.count = size;
          request.sequence = 1;
          request.op = ReduceOp::avg;
          request.quantization = BlockQuantizedSettings().quantization;
          request.algorithm =
              route == QuantizedRoute::ring ? AllReduceAlgorithm::ring : AllReduceAlgorithm::direct;
          AbortToken token;
          AllReduce(group.links(member), group.ring(member), request).run(token);
        });
        for (const auto& fault : faults) ASSERT_EQ(fault, nullptr);
        for (std::size_t rank = 0; rank < own.size(); ++rank) {
          EXPECT_TRUE(outcome.accepted[rank]);
          EXPECT_EQ(std::memcmp(outcome.results[rank].data(), of_peers[rank].data(), size * sizeof(float)), 0)
              << ranks << " ranks, " << size << " numbers, rank " << rank;
        }
      }
    }
  }
}

TEST(BlockQuantizedExchange, LosesNoMoreThanHalfAStepOfEachQuantisation) {
  constexpr int ranks = 4;
  constexpr std::size_t size = 20'000;
  std::vector<std::vector<float>> own;
  std::vector<double> mean(size);
  float least = 0, most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    own.push_back(gaussians(size, rank));
    for (std::size_t i = 0; i < size; ++i) {
      mean[i] += own.back()[i] / ranks;
      least = std::min(least, own.back()[i]);
      most = std::max(most, own.back()[i]);
    }
  }
  // Partial sums of up to `ranks` numbers, divided in the end.
  const double bound = 0.5 * ranks * (most - least) / 255;
  for (const QuantizedRoute route : {QuantizedRoute::ring, QuantizedRoute::direct}) {
    const Outcome outcome = means_of(own, route);
    for (int rank = 1; rank < ranks; ++rank)
      EXPECT_EQ(outcome.results[static_cast<std::size_t>(rank)], outcome.results[0]);
    double largest = 0;
    for (std::size_t i = 0; i < size; ++i)
      largest = std::max(largest, std::abs(static_cast<double>(outcome.results[0][i]) - mean[i]));
    EXPECT_LT(largest, bound);
    EXPECT_GT(largest, 0);
    // 2 (W - 1) / W of a byte a number, 8 bytes a block of 1024, 5 of a message.
    const double numbers = 2.0 * (ranks - 1) / ranks * size;
    EXPECT_NEAR(static_cast<double>(outcome.sent[0]), numbers * (1 + 8.0 / 1024) + 6 * 5, 6 * 8.0);
    EXPECT_EQ(outcome.sent[1], outcome.sent[2]);
  }
}

TEST(BlockQuantizedExchange, StochasticRoundingRepeatsAndIsTheSameEverywhere) {
  Quantization quantization = BlockQuantizedSettings().quantization;
  quantization.rounding = WireRounding::stochastic;
  quantization.seed = 3;
  const std::vector<std::vector<float>> own = {gaussians(5000, 0), gaussians(5000, 1), gaussians(5000, 2)};
  for (const QuantizedRoute route : {QuantizedRoute::ring, QuantizedRoute::direct}) {
    const Outcome first = means_of(own, route, quantization), again = means_of(own, route, quantization);
    EXPECT_EQ(first.results, again.results);
    EXPECT_EQ(first.results[0], first.results[2]);
    quantization.seed = 4;
    EXPECT_NE(means_of(own, route, quantization).results[0], first.results[0]);
    quantization.seed = 3;
  }
}

TEST(BlockQuantizedExchange, ANumberThatIsNotFiniteIsRefusedByAll) {
  for (const QuantizedRoute route : {QuantizedRoute::ring, QuantizedRoute::direct}) {
    for (int whose = 0; whose < 3; ++whose) {
      for (const std::size_t where : {0u, 400u, 999u}) {
        std::vector<std::vector<float>> own = {gaussians(1000, 0), gaussians(1000, 1), gaussians(1000, 2)};
        own[static_cast<std::size_t>(whose)][where] = std::numeric_limits<float>::quiet_NaN();
        for (const bool accepted : means_of(own, route).accepted) EXPECT_FALSE(accepted);
      }
    }
  }
}

TEST(BlockQuantizedExchange, OneRankKeepsItsNumbers) {
  const std::vector<std::vector<float>> own = {gaussians(300, 0)};
  const Outcome outcome = means_of(own, QuantizedRoute::ring);
  EXPECT_EQ(outcome.results[0], own[0]);
  EXPECT_EQ(outcome.sent[0], 0u);
}

TEST(BlockQuantizedExchange, QuantisationsThatThereAreNotAreRefused) {
  BlockQuantizedSettings settings;
  settings.quantization.bits = 4;
  EXPECT_THROW(block_quantized_exchange({{"all", {16}, 0, 16}}, settings), Error);
  settings.quantization.bits = 8;
  settings.quantization.block = 17;
  EXPECT_THROW(block_quantized_exchange({{"all", {16}, 0, 16}}, settings), Error);
}

}  // namespace
}  // namespace laconic
