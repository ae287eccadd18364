// The schedules of card 05, run: what they move is counted and what they compute is right.
#include "engine/attention/scheduled_attention.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>

#include "engine/attention/lru_cache.h"
#include "engine/attention/plan.h"
#include "engine/base/error.h"
#include "problem.h"

namespace laconic {
namespace {

using Schedule = AttentionSchedule;

// What must hold of every run.
void expect_sound(const ScheduledRun& run, const AttentionShape& shape, std::int64_t words) {
  EXPECT_LE(run.peak_resident, words);
  EXPECT_EQ(run.traffic, traffic_of(run.schedule, shape, run.tiles));
  EXPECT_GE(run.traffic.total(), least_traffic(shape, words));
  MovedWords sum;
  std::uint64_t key_values = 0;
  for (const auto& [name, traffic] : run.by_tensor) {
    sum.reads += traffic.reads;
    sum.writes += traffic.writes;
    if (name == "K" || name == "V") key_values += traffic.reads;
  }
  EXPECT_EQ(sum, run.traffic);
  EXPECT_EQ(key_values, key_value_reads(run.schedule, shape, run.tiles));
}

struct TableRow {
  std::int64_t d, words;
  std::uint64_t fa1, qstat, small;
};
void PrintTo(const TableRow& row, std::ostream* to) { *to << "d = " << row.d << ", M = " << row.words; }
class ScheduleTable : public testing::TestWithParam<TableRow> {};

TEST_P(ScheduleTable, RunsMoveWhatCard05Says) {
  const TableRow row = GetParam();
  const AttentionShape shape{1024, 1024, row.d, {}};
  const RandomProblem random(shape);
  const std::pair<Schedule, std::uint64_t> wanted[] = {
      {Schedule::fa1, row.fa1}, {Schedule::qstat, row.qstat}, {Schedule::small, row.small}};
  for (const auto& [schedule, total] : wanted) {
    SCOPED_TRACE(name_of(schedule));
    const ScheduledRun run = run_schedule(schedule, random.problem, row.words);
    EXPECT_EQ(run.traffic.total(), total);
    EXPECT_GE(run.traffic.reads, 3u * 1024 * static_cast<std::uint64_t>(row.d));
    EXPECT_GE(run.traffic.writes, 1024u * static_cast<std::uint64_t>(row.d));
    expect_sound(run, shape, row.words);
  }
}
INSTANTIATE_TEST_SUITE_P(Card05, ScheduleTable,
                         testing::Values(TableRow{64, 512, 102891520, 67239936, 15542272},
                                         TableRow{64, 1024, 51511296, 22544384, 11149312},
                                         TableRow{64, 2048, 25821184, 9830400, 7936000},
                                         TableRow{64, 4096, 12976128, 4718592, 6559744},
                                         TableRow{64, 16384, 3342336, 1310720, 3936256},
                                         TableRow{64, 131072, 532480, 393216, 2756608},
                                         TableRow{128, 2048, 101974016, 45088768, 13770752},
                                         TableRow{128, 16384, 12976128, 4718592, 6821888},
                                         TableRow{128, 131072, 1851392, 1048576, 3411968}),
                         [](const auto& row) {
                           return "d" + std::to_string(row.param.d) + "M" + std::to_string(row.param.words);
                         });

TEST(ScheduledAttention, TinyCaseOfCard05) {
  const AttentionShape shape{8, 8, 4, {}};
  const RandomProblem random(shape);
  const std::vector<double> wanted = attention_by_definition(random.problem);
  const std::uint64_t totals[] = {576, 320, 384};
  for (const Schedule schedule : attention_schedules) {
    const ScheduledRun run = run_schedule(schedule, random.problem, 40);
    EXPECT_EQ(run.traffic.total(), totals[static_cast<int>(schedule)]);
    EXPECT_LE(largest_error(run.out, wanted), 1e-5);
    expect_sound(run, shape, 40);
  }
}

TEST(ScheduledAttention, AgreesWithTheDefinitionUnderEveryMask) {
  struct Case {
    AttentionShape shape;
    std::int64_t words;
  };
  const Case cases[] = {{{1, 1, 1, {}}, 12},
                        {{1, 40, 8, {}}, 40},
                        {{37, 53, 5, {}}, 100},
                        {{37, 37, 16, {true, 0, 0}}, 72},
                        {{37, 37, 16, {true, 0, 0}}, 500},
                        {{29, 61, 7, {true, 32, 0}}, 300},
                        {{29, 61, 7, {true, 32, 9}}, 150},
                        {{29, 61, 7, {false, 10, 9}}, 90},
                        {{40, 24, 6, {true, -13, 5}}, 80},
                        {{20, 20, 4, {true, -30, 0}}, 64},  // nobody sees anything
                        {{33, 33, 3, {}}, 100000}};
  for (const Case& c : cases) {
    const RandomProblem random(c.shape);
    const std::vector<double> wanted = attention_by_definition(random.problem);
    for (const Schedule schedule : attention_schedules) {
      if (c.words < minimum_words(schedule, c.shape.head_dim)) continue;
      SCOPED_TRACE(testing::Message() << name_of(schedule) << ' ' << c.shape.queries << 'x' << c.shape.keys
                                      << 'x' << c.shape.head_dim << " in " << c.words);
      const ScheduledRun run = run_schedule(schedule, random.problem, c.words);
      EXPECT_LE(largest_error(run.out, wanted), 1e-5);
      expect_sound(run, c.shape, c.words);
    }
  }
}

TEST(ScheduledAttention, RowsThatSeeNothingAreZero) {
  const AttentionShape shape{12, 12, 4, {true, -5, 0}};
  const RandomProblem random(shape);
  for (const Schedule schedule : attention_schedules) {
    const ScheduledRun run = run_schedule(schedule, random.problem, 60);
    for (std::size_t i = 0; i < 5 * 4; ++i) ASSERT_EQ(run.out[i], 0.0f) << name_of(schedule);
    ASSERT_NE(run.out[5 * 4], 0.0f);
  }
}

TEST(ScheduledAttention, ScoresOfTenThousandStayFinite) {
  const AttentionShape shape{24, 24, 4, {}};
  RandomProblem random(shape);
  for (std::size_t i = 0; i < random.q.size(); i += 4) {  // scores are exact: products with powers of two
    random.q[i] = i % 8 == 0 ? 16384.0f : -16384.0f;
    random.k[i] = static_cast<float>(i % 3) - 1;
    for (std::size_t j = 1; j < 4; ++j) random.q[i + j] = 0;
  }
  random.problem.scale = 1;
  const std::vector<double> wanted = attention_by_definition(random.problem);
  for (const Schedule schedule : attention_schedules)
    EXPECT_LE(largest_error(run_schedule(schedule, random.problem, 60).out, wanted), 1e-5)
        << name_of(schedule);
}

TEST(ScheduledAttention, RefusesWhatItCannotUse) {
  const AttentionShape shape{6, 6, 4, {}};
  const auto kind_of = [&](const AttentionProblem& problem, std::int64_t words) {
    try {
      run_schedule(Schedule::qstat, problem, words);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::internal;
  };
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int tensor : {0, 1, 2}) {
      RandomProblem random(shape);
      (tensor == 0 ? random.q : tensor == 1 ? random.k : random.v)[7] = bad;
      EXPECT_EQ(kind_of(random.problem, 40), ErrorKind::input) << tensor;
    }
  }
  RandomProblem random(shape);
  EXPECT_EQ(kind_of(random.problem, 23), ErrorKind::usage);
  random.problem.keys = random.problem.keys.first(20);
  EXPECT_EQ(kind_of(random.problem, 40), ErrorKind::usage);
}

// A cache that evicts what was unused for longest needs twice the words of a placement to keep up with it
// (Sleator and Tarjan 1985): tiles that fill it make it evict what comes next.
TEST(ScheduledAttention, WithoutPlacementTheOrderStaysTheSame) {
  const AttentionShape shape{96, 96, 16, {}};
  const RandomProblem random(shape);
  const auto misses = [&](Schedule schedule, std::int64_t words, std::int64_t cache_words) {
    LruCache cache(cache_words);
    const ScheduledRun run = run_schedule(schedule, random.problem, words, &cache);
    const std::uint64_t moved = cache.misses() + cache.write_backs();
    EXPECT_GE(cache.misses(), 4u * 96 * 16);  // everything is touched
    if (cache_words >= 2 * words) {
      EXPECT_LE(moved, 2 * run.traffic.total()) << name_of(schedule);
    }
    return moved;
  };
  // Far below d^2 the small schedule wins, above it the stationary queries; fa1 never does.
  EXPECT_LT(misses(Schedule::small, 80, 160), misses(Schedule::qstat, 80, 160));
  EXPECT_LT(misses(Schedule::qstat, 80, 160), misses(Schedule::fa1, 80, 160));
  EXPECT_LT(misses(Schedule::qstat, 600, 1200), misses(Schedule::small, 600, 1200));
  EXPECT_LT(misses(Schedule::qstat, 600, 1200), misses(Schedule::fa1, 600, 1200));
  EXPECT_GT(misses(Schedule::qstat, 600, 600), 4 * misses(Schedule::qstat, 600, 1200));
}

TEST(ScheduledAttention, ListeningChangesNothing) {
  const AttentionShape shape{20, 24, 8, {true, 4, 0}};
  const RandomProblem random(shape);
  for (const Schedule schedule : attention_schedules) {
    LruCache cache(64);
    const ScheduledRun heard = run_schedule(schedule, random.problem, 64, &cache);
    const ScheduledRun alone = run_schedule(schedule, random.problem, 64);
    EXPECT_EQ(heard.out, alone.out);
    EXPECT_EQ(heard.traffic, alone.traffic);
    EXPECT_GT(cache.accesses(), heard.traffic.total());
  }
}

TEST(ScheduledAttention, TheReportHoldsTheWholeRun) {
  const AttentionShape shape{8, 8, 4, {}};
  const RandomProblem random(shape);
  const ScheduledRun run = run_schedule(Schedule::qstat, random.problem, 40);
  const nlohmann::json report = to_json(run, shape, 40, 2, 0.5);
  EXPECT_EQ(report.at("schedule"), "qstat");
  EXPECT_EQ(report.at("Br"), 2);
  EXPECT_EQ(report.at("reads").get<int>() + report.at("writes").get<int>(), 320);
  EXPECT_EQ(report.at("bytes"), 640);
  EXPECT_EQ(report.at("lb"), 128);
  EXPECT_EQ(report.at("ratio"), 2.5);
  EXPECT_EQ(report.at("max_abs_err"), 0.5);
  for (const char* key : {"N", "d", "M", "word_bytes", "Bc", "b", "peak_resident", "tensors"})
    EXPECT_TRUE(report.contains(key)) << key;
}

}  // namespace
}  // namespace laconic
