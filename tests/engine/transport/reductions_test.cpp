#include "engine/transport/reductions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

std::vector<float> values_of(int rank, std::size_t n) {
  RandomStream random(5, "reductions", "values", 0, static_cast<std::uint16_t>(rank));
  std::vector<float> values(n);
  for (float& value : values) value = random.gaussian() * std::exp(3 * random.gaussian());
  return values;
}

struct Case {
  int ranks;
  std::size_t n;
};
class Reductions : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Shapes, Reductions,
                         testing::Values(Case{1, 10}, Case{2, 0}, Case{2, 1}, Case{2, 1000}, Case{3, 5},
                                         Case{4, 4096}, Case{5, 1003}, Case{8, 64}, Case{7, 20000}));

TEST_P(Reductions, PartsCoverTheVector) {
  const auto [ranks, n] = GetParam();
  const std::vector<std::size_t> bounds = parts_of(n, ranks);
  ASSERT_EQ(bounds.size(), static_cast<std::size_t>(ranks) + 1);
  EXPECT_EQ(bounds.front(), 0u);
  EXPECT_EQ(bounds.back(), n);
  for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
    EXPECT_LE(bounds[i], bounds[i + 1]);
    if (bounds[i + 1] < n) {
      EXPECT_EQ(bounds[i + 1] % 16, 0u);
    }
  }
}

// The sum in the order of the ring, part by part.
std::vector<float> ring_sum(int ranks, std::size_t n) {
  const std::vector<std::size_t> bounds = parts_of(n, ranks);
  std::vector<float> sum(n);
  for (int part = 0; part < ranks; ++part) {
    for (int step = 0; step < ranks; ++step) {
      const std::vector<float> own = values_of((part + step) % ranks, n);
      for (std::size_t i = bounds[static_cast<std::size_t>(part)];
           i < bounds[static_cast<std::size_t>(part) + 1]; ++i) {
        sum[i] = step == 0 ? own[i] : sum[i] + own[i];
      }
    }
  }
  return sum;
}

TEST_P(Reductions, RingSumHasItsOrderOnEveryRankAndSendsWhatTheFormulaSays) {
  const auto [ranks, n] = GetParam();
  const std::vector<float> wanted = ring_sum(ranks, n);
  run_ranks(ranks, [&, n = n](Communicator& c) {
    std::vector<float> values = values_of(c.rank(), n);
    all_reduce_sum(c, values);
    EXPECT_EQ(values, wanted);
    const std::vector<std::size_t> bounds = parts_of(n, c.size());
    std::uint64_t bytes = 0;
    for (int step = 0; step + 1 < c.size(); ++step) {
      for (const int part : {c.rank() - step + c.size(), c.rank() + 1 - step + c.size()}) {
        const auto index = static_cast<std::size_t>(part % c.size());
        bytes += 4 * (bounds[index + 1] - bounds[index]);
      }
    }
    EXPECT_EQ(c.traffic(Exchange::all_reduce).sent_bytes, bytes);
    EXPECT_EQ(c.traffic().sent_bytes, bytes);
  });
}

TEST_P(Reductions, ReduceScatterLeavesTheNextPart) {
  const auto [ranks, n] = GetParam();
  const std::vector<float> wanted = ring_sum(ranks, n);
  run_ranks(ranks, [&, n = n](Communicator& c) {
    std::vector<float> values = values_of(c.rank(), n);
    const std::vector<std::size_t> bounds = parts_of(n, c.size());
    reduce_scatter(c, values, bounds);
    const auto part = static_cast<std::size_t>(ring_part_of(c.rank(), c.size()));
    for (std::size_t i = bounds[part]; i < bounds[part + 1]; ++i) EXPECT_EQ(values[i], wanted[i]);
  });
}

TEST_P(Reductions, Bf16IsTheSameOnEveryRankAndNearTheSum) {
  const auto [ranks, n] = GetParam();
  std::vector<double> exact(n), magnitude(n);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<float> own = values_of(rank, n);
    for (std::size_t i = 0; i < n; ++i) exact[i] += own[i], magnitude[i] += std::abs(own[i]);
  }
  std::vector<std::vector<float>> results(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&, n = n](Communicator& c) {
    std::vector<float> values = values_of(c.rank(), n);
    all_reduce_sum_bf16(c, values);
    results[static_cast<std::size_t>(c.rank())] = std::move(values);
  });
  for (const std::vector<float>& result : results) {
    ASSERT_EQ(result.size(), n);
    EXPECT_TRUE(n == 0 || std::memcmp(result.data(), results.front().data(), n * sizeof(float)) == 0);
  }
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_NEAR(results.front()[i], exact[i], magnitude[i] / 256 + std::abs(exact[i]) / 256);
  }
}

TEST(Reductions, VectorsOfDifferentLengthsAreFound) {
  EXPECT_THROW(run_ranks(2,
                         [](Communicator& c) {
                           std::vector<float> values(c.rank() == 0 ? 100 : 164);
                           c.set_timeout(5);
                           all_reduce_sum(c, values);
                         }),
               Error);
}

}  // namespace
}  // namespace laconic
