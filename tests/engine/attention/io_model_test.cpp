// Exact words and bounds of card 05.
#include "engine/attention/io_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/attention/plan.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/linear_algebra.h"

namespace laconic {
namespace {

using Schedule = AttentionSchedule;

std::uint64_t total(Schedule schedule, const AttentionShape& shape, std::int64_t words) {
  return traffic_of(schedule, shape, tiles_of(schedule, shape, words)).total();
}

AttentionShape square(std::int64_t n, std::int64_t d) { return {n, n, d, {}}; }

TEST(AttentionIo, TableOfCard05) {
  struct Row {
    std::int64_t d, words;
    std::uint64_t fa1, qstat, small, least;
  };
  const Row rows[] = {
      {64, 512, 102891520, 67239936, 15542272, 1259634},   {64, 1024, 51511296, 22544384, 11149312, 837837},
      {64, 2048, 25821184, 9830400, 7936000, 545736},      {64, 4096, 12976128, 4718592, 6559744, 345429},
      {64, 16384, 3342336, 1310720, 3936256, 262144},      {64, 131072, 532480, 393216, 2756608, 262144},
      {128, 2048, 101974016, 45088768, 13770752, 1258098}, {128, 16384, 12976128, 4718592, 6821888, 524288},
      {128, 131072, 1851392, 1048576, 3411968, 524288}};
  for (const Row& row : rows) {
    SCOPED_TRACE(testing::Message() << row.d << ' ' << row.words);
    const AttentionShape shape = square(1024, row.d);
    EXPECT_EQ(total(Schedule::fa1, shape, row.words), row.fa1);
    EXPECT_EQ(total(Schedule::qstat, shape, row.words), row.qstat);
    EXPECT_EQ(total(Schedule::small, shape, row.words), row.small);
    EXPECT_EQ(least_traffic(shape, row.words), row.least);
    const AttentionPlan plan = plan_attention(shape, row.words);
    EXPECT_EQ(plan.traffic.total(), std::min({row.fa1, row.qstat, row.small}));
    EXPECT_EQ(plan.schedule, row.small < row.qstat ? Schedule::small : Schedule::qstat);
  }
}

TEST(AttentionIo, TinyCaseOfCard05) {
  const AttentionShape shape = square(8, 4);
  EXPECT_EQ(tiles_of(Schedule::fa1, shape, 40), (ScheduleTiles{2, 2, 0}));
  EXPECT_EQ(tiles_of(Schedule::qstat, shape, 40), (ScheduleTiles{2, 1, 0}));
  EXPECT_EQ(tiles_of(Schedule::small, shape, 40), (ScheduleTiles{0, 0, 4}));
  EXPECT_EQ(total(Schedule::fa1, shape, 40), 576u);
  EXPECT_EQ(total(Schedule::qstat, shape, 40), 320u);
  EXPECT_EQ(total(Schedule::small, shape, 40), 384u);
  EXPECT_EQ(least_traffic(shape, 40), 128u);
}

TEST(AttentionIo, TheBestTotalNeverRisesWithTheMemory) {
  for (const auto& [n, d] : {std::pair{64, 8}, {100, 16}, {256, 32}, {37, 1}}) {
    const AttentionShape shape = square(n, d);
    std::uint64_t before = ~std::uint64_t{0};
    for (std::int64_t words = 12; words <= 5 * n * d + 64; ++words) {
      const AttentionPlan plan = plan_attention(shape, words);
      ASSERT_LE(plan.traffic.total(), before) << n << ' ' << d << ' ' << words;
      ASSERT_GE(plan.traffic.total(), plan.least) << n << ' ' << d << ' ' << words;
      before = plan.traffic.total();
    }
    EXPECT_EQ(before, static_cast<std::uint64_t>(4 * n * d));
  }
}

TEST(AttentionIo, TheBestStaysWithinEighteenTimesTheBound) {
  for (const std::int64_t n : {256, 512, 1024}) {
    for (const std::int64_t d : {32, 64, 128}) {
      for (std::int64_t words = 4 * d + 8; words <= 4 * n * d;
           words += std::max<std::int64_t>(1, words / 100))
        ASSERT_LE(plan_attention(square(n, d), words).ratio(), 18) << n << ' ' << d << ' ' << words;
    }
  }
  EXPECT_GT(plan_attention(square(512, 32), 724).ratio(), 17);  // the worst that card 05 names
}

TEST(AttentionIo, TheCrossoverLiesBetweenHalfAndAllOfTheSquareOfTheHeadSize) {
  for (const std::int64_t d : {32, 64, 128}) {
    std::int64_t words = 4 * d + 8;
    while (total(Schedule::qstat, square(1024, d), words) > total(Schedule::small, square(1024, d), words))
      ++words;
    EXPECT_GE(words, d * d / 2) << d;
    EXPECT_LE(words, d * d) << d;
  }
}

// An independent count: a fully visible mask written as a causal one with a late first query.
TEST(AttentionIo, AMaskThatHidesNothingCostsNothingLess) {
  AttentionShape shape = square(50, 8), late = shape;
  late.mask.causal = true;
  late.mask.first_query = 49;
  late.mask.window = 1000;
  for (const Schedule schedule : attention_schedules) {
    for (const std::int64_t words : {40, 100, 333, 4000})
      EXPECT_EQ(total(schedule, shape, words), total(schedule, late, words)) << name_of(schedule) << words;
  }
  EXPECT_EQ(visible_pairs(late), 2500u);
  EXPECT_EQ(least_traffic(shape, 64), least_traffic(late, 64));
}

TEST(AttentionIo, ACausalMaskLeavesAboutHalfTheTiles) {
  AttentionShape full = square(1024, 32), causal = full;
  causal.mask.causal = true;
  EXPECT_EQ(visible_pairs(causal), 1024u * 1025 / 2);
  for (const Schedule schedule : attention_schedules) {
    const double once = 4.0 * 1024 * 32;
    const double share = (static_cast<double>(total(schedule, causal, 1500)) - once) /
                         (static_cast<double>(total(schedule, full, 1500)) - once);
    EXPECT_GT(share, 0.49) << name_of(schedule);
    EXPECT_LT(share, 0.55) << name_of(schedule);
  }
  AttentionShape window = causal;
  window.mask.window = 100;
  EXPECT_EQ(visible_pairs(window), 100u * 1024 - 100 * 99 / 2);
}

TEST(AttentionIo, MasksInBothDirectionsAgree) {
  for (const std::int64_t offset : {-5, 0, 3, 20}) {
    for (const std::int64_t window : {0, 1, 4}) {
      for (const bool causal : {false, true}) {
        const AttentionMask mask{causal, offset, window};
        for (std::int64_t begin = 0; begin < 13; ++begin) {
          for (std::int64_t end = begin + 1; end <= 13; ++end) {
            const IndexRange queries = mask.queries_of({begin, end}, 11);
            for (std::int64_t query = 0; query < 11; ++query) {
              const IndexRange keys = mask.keys_of(query, 13);
              const bool sees = keys.begin < end && keys.end > begin && keys.size() > 0;
              ASSERT_EQ(sees, query >= queries.begin && query < queries.end)
                  << causal << offset << ' ' << window << ' ' << begin << ' ' << end << ' ' << query;
            }
          }
        }
      }
    }
  }
}

TEST(AttentionIo, ImpossibleBudgetsNameTheMinimum) {
  const AttentionShape shape = square(8, 4);
  const auto message_of = [](const auto& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message_of([&] { tiles_of(Schedule::qstat, shape, 23); }).find("at least 24"), std::string::npos);
  EXPECT_NE(message_of([&] { tiles_of(Schedule::small, shape, 11); }).find("at least 12"), std::string::npos);
  EXPECT_NE(message_of([&] { plan_attention(shape, 11); }).find("impossible budget"), std::string::npos);
  EXPECT_NO_THROW(tiles_of(Schedule::qstat, shape, 24));
  EXPECT_NE(message_of([&] { plan_attention(square(0, 4), 100); }).find("empty"), std::string::npos);
  EXPECT_NE(message_of([&] { plan_attention(square(4, 0), 100); }).find("empty"), std::string::npos);
  EXPECT_NE(
      message_of([&] { plan_attention(square(std::int64_t{1} << 40, 4), 100); }).find("cannot be counted"),
      std::string::npos);
}

TEST(AttentionIo, MemoryBeyondTheDataAndSquaresBeyondThirtyTwoBits) {
  EXPECT_EQ(plan_attention(square(100, 8), 1 << 30).traffic.total(), 4u * 100 * 8);
  const AttentionShape large = square(1 << 20, 64);
  EXPECT_EQ(total(Schedule::qstat, large, 262144), 2ull * (1 << 20) * 64 * (1 + 525));
  EXPECT_GT(total(Schedule::small, large, 4096), std::uint64_t{1} << 42);
}

// The derivative of (Q, K) -> Q K^T at a generic point has this rank.
TEST(AttentionIo, DegreesOfFreedomAreTheRankOfTheDerivative) {
  struct Case {
    std::int64_t q, k, d, wanted;
  };
  for (const Case& c : {Case{6, 6, 3, 27}, {8, 5, 2, 22}, {2, 7, 4, 14}, {3, 3, 3, 9}}) {
    EXPECT_EQ(degrees_of_freedom(c.q, c.k, c.d), c.wanted);
    const RandomStream random(1, "attention", "jacobian");
    const auto q_at = [&](std::int64_t i, std::int64_t j) {
      return random.gaussian_at(static_cast<std::uint64_t>(i * c.d + j));
    };
    const auto k_at = [&](std::int64_t i, std::int64_t j) {
      return random.gaussian_at(static_cast<std::uint64_t>(1000 + i * c.d + j));
    };
    const std::int64_t rows = c.q * c.k, columns = (c.q + c.k) * c.d;
    std::vector<double> jacobian(static_cast<std::size_t>(rows * columns));
    for (std::int64_t i = 0; i < c.q; ++i) {
      for (std::int64_t j = 0; j < c.k; ++j) {
        double* row = jacobian.data() + (i * c.k + j) * columns;
        for (std::int64_t x = 0; x < c.d; ++x) {
          row[i * c.d + x] = k_at(j, x);
          row[(c.q + j) * c.d + x] = q_at(i, x);
        }
      }
    }
    const Svd64 svd = exact_svd64(jacobian, rows, columns);
    std::int64_t rank = 0;
    for (const double value : svd.values) rank += value > 1e-10 * svd.values.front();
    EXPECT_EQ(rank, c.wanted);
  }
}

}  // namespace
}  // namespace laconic
