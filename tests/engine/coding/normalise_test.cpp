#include "engine/coding/normalise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

using Frequencies = std::vector<std::uint32_t>;
using Counts = std::vector<std::uint64_t>;

Frequencies cumulative(const Frequencies& frequencies) {
  Frequencies result = {0};
  for (const std::uint32_t f : frequencies) result.push_back(result.back() + f);
  return result;
}

// Card 19: pmf [.5, .25, .2499999, 1e-7] -> cdf [0, 32768, 49151, 65535, 65536].
TEST(Normalise, StealSmallestVector) {
  const std::vector<double> pmf = {.5, .25, .2499999, 1e-7};
  EXPECT_EQ(cumulative(normalise(pmf, 65536, NormalisePolicy::steal_smallest)),
            (Frequencies{0, 32768, 49151, 65535, 65536}));
}

// Card 31: counts (0, 1, 5, 2) -> [0, 1, 8193, 49151, 65535], then one count more for the last interval.
TEST(Normalise, SpreadVector) {
  const Counts counts = {0, 1, 5, 2};
  Frequencies frequencies = normalise(counts, 65536, NormalisePolicy::spread);
  EXPECT_EQ(cumulative(frequencies), (Frequencies{0, 1, 8193, 49151, 65536}));
  --frequencies.back();
  EXPECT_EQ(cumulative(frequencies), (Frequencies{0, 1, 8193, 49151, 65535}));
  const std::vector<double> pmf = {0, 1.0 / 8, 5.0 / 8, 2.0 / 8};
  EXPECT_EQ(cumulative(normalise(pmf, 65536, NormalisePolicy::spread)),
            (Frequencies{0, 1, 8193, 49151, 65536}));
}

// Card 44: f = max(1, floor(p 2^14)), the remainder to the largest, ties to the lowest.
TEST(Normalise, FloorPlusLargest) {
  const std::vector<double> pmf = {0.3, 0.3, 0.25, 0.15, 1e-9};
  // floors 4915, 4915, 4096, 2457, raised 1: sum 16384, nothing is left.
  EXPECT_EQ(normalise(pmf, 1 << 14, NormalisePolicy::floor_plus_largest),
            (Frequencies{4915, 4915, 4096, 2457, 1}));
  const std::vector<double> thirds = {1.0 / 3, 1.0 / 3, 1.0 / 3};
  EXPECT_EQ(normalise(thirds, 1 << 14, NormalisePolicy::floor_plus_largest), (Frequencies{5462, 5461, 5461}));
  // Raised symbols are paid for by the largest.
  const std::vector<double> rare = {1.0, 0, 0, 0};
  EXPECT_EQ(normalise(rare, 16, NormalisePolicy::floor_plus_largest), (Frequencies{13, 1, 1, 1}));
}

TEST(Normalise, LargestRemainder) {
  const auto of = [](Counts counts, std::uint32_t total) { return normalise(counts, total); };
  EXPECT_EQ(of({1, 1, 1}, 16), (Frequencies{6, 5, 5}));         // ties: lower index
  EXPECT_EQ(of({3, 0, 5}, 8), (Frequencies{3, 0, 5}));          // not seen: 0
  EXPECT_EQ(of({1, 1000000, 1}, 16), (Frequencies{1, 14, 1}));  // seen: at least 1
  EXPECT_EQ(of({7, 6, 5}, 10), (Frequencies{4, 3, 3}));         // 3.89, 3.33, 2.78
  EXPECT_EQ(of({9}, 65536), (Frequencies{65536}));
}

TEST(Normalise, EveryPolicySumsToTheTotal) {
  for (const NormalisePolicy policy : {NormalisePolicy::largest_remainder, NormalisePolicy::steal_smallest,
                                       NormalisePolicy::floor_plus_largest, NormalisePolicy::spread}) {
    for (int round = 0; round < 200; ++round) {
      RandomStream random(3, "test", "counts", static_cast<std::uint64_t>(round));
      Counts counts(1 + random.below(300));
      for (std::uint64_t& count : counts) {
        const std::uint32_t scale = random.below(30);
        count = random.below(1u << scale);
      }
      counts[random.below(static_cast<std::uint32_t>(counts.size()))] += 1u << 25;
      const std::uint64_t sum = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
      std::vector<double> pmf(counts.size());
      for (std::size_t i = 0; i < counts.size(); ++i) {
        pmf[i] = static_cast<double>(counts[i]) / static_cast<double>(sum);
      }
      for (const std::uint32_t total : {1u << 12, 1u << 14, 1u << 16}) {
        for (const Frequencies& f : {normalise(counts, total, policy), normalise(pmf, total, policy)}) {
          ASSERT_EQ(std::accumulate(f.begin(), f.end(), std::uint64_t{0}), total);
          for (std::size_t i = 0; i < f.size(); ++i) {
            if (counts[i] > 0 || policy != NormalisePolicy::largest_remainder) {
              ASSERT_GE(f[i], 1u);
            } else {
              ASSERT_EQ(f[i], 0u);
            }
          }
        }
      }
    }
  }
}

TEST(Normalise, RefusesWhatCannotBeNormalised) {
  const auto refused = [](auto weights, std::uint32_t total, NormalisePolicy policy) {
    try {
      normalise(std::span<const typename decltype(weights)::value_type>(weights), total, policy);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
    }
  };
  refused(Counts{}, 16, NormalisePolicy::largest_remainder);
  refused(Counts{0, 0}, 16, NormalisePolicy::spread);
  refused(Counts(17, 1), 16, NormalisePolicy::largest_remainder);
  refused(Counts(16, 1), 16, NormalisePolicy::spread);
  refused(std::vector<double>{0.5, -0.1, 0.6}, 16, NormalisePolicy::steal_smallest);
  refused(std::vector<double>{0.5, std::nan("")}, 16, NormalisePolicy::floor_plus_largest);
  refused(std::vector<double>{1e-9, 1e-9}, 16, NormalisePolicy::largest_remainder);
  refused(std::vector<double>(16, 1.0 / 16), 16, NormalisePolicy::spread);
}

}  // namespace
}  // namespace laconic
