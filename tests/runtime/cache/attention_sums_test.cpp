#include "runtime/cache/attention_sums.h"

#include <gmock/gmock.h>

#include <deque>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

using testing::ElementsAre;

Bytes bytes_of(const AttentionSums& sums) {
  ByteWriter writer;
  sums.write(writer);
  EXPECT_EQ(sums.bytes(), writer.size());
  return writer.take();
}

// A ring of the last rows, as the sums stand in for.
TEST(AttentionSums, GiveAtEveryCompressionWhatARingOfRowsGives) {
  RandomStream random(1, "test", "rows");
  for (const std::int64_t recent : {1, 5, 8, 12, 20}) {
    for (const std::int64_t interval : {1, 4, 8, 11}) {
      AttentionSums sums(1, {true, recent, interval});
      std::deque<std::vector<float>> ring;
      std::vector<double> total;
      std::size_t columns = 3;
      for (int compression = 0; compression < 6; ++compression) {
        for (std::int64_t step = 0; step < interval; ++step) {
          std::vector<float> row(++columns);
          for (float& w : row) w = static_cast<float>(random.below(16)) / 64;  // sums are exact in f16
          sums.observe(0, row, interval - 1 - step);
          ring.push_back(row);
          if (static_cast<std::int64_t>(ring.size()) > recent) ring.pop_front();
          total.resize(columns);
          for (std::size_t i = 0; i < columns; ++i) total[i] += static_cast<double>(row[i]);
        }
        std::vector<float> expected;
        for (const auto& row : ring) {
          expected.resize(std::max(expected.size(), row.size()));
          for (std::size_t i = 0; i < row.size(); ++i) expected[i] += row[i];
        }
        EXPECT_EQ(sums.recent_sum(0), expected) << recent << ' ' << interval;
        const std::vector<float> all = sums.total(0);
        ASSERT_EQ(all.size(), total.size());
        for (std::size_t i = 0; i < columns; ++i) EXPECT_FLOAT_EQ(all[i], static_cast<float>(total[i]));
        sums.settle();
        EXPECT_EQ(sums.total(0), all);
      }
    }
  }
}

TEST(AttentionSums, RowsThatNobodyWillReadAreNotKept) {
  AttentionSums sums(1, {false, 4, 10});
  EXPECT_FALSE(sums.wants(4));
  EXPECT_TRUE(sums.wants(3));
  const std::size_t empty = bytes_of(sums).size();
  for (std::int64_t remaining = 9; remaining >= 4; --remaining)
    sums.observe(0, std::vector<float>{.5f, .5f}, remaining);
  EXPECT_EQ(bytes_of(sums).size(), empty);
  sums.observe(0, std::vector<float>{.25f, .75f}, 3);
  EXPECT_THAT(sums.recent_sum(0), ElementsAre(.25f, .75f));
  EXPECT_THAT(sums.total(0), ElementsAre());
}

TEST(AttentionSums, APromptCountsLikeTheStepsThatItStandsFor) {
  const KvShape shape{1, 2, 4, 8, 8, {}, nullptr};
  const RandomLayer layer(shape, 50);
  const PromptScores scores(shape, 0, layer.rows(0, 50));
  constexpr std::int64_t recent = 13, interval = 5, remaining = 3;
  AttentionSums of_prompt(2, {true, recent, interval}), of_steps(2, {true, recent, interval});
  of_prompt.start(scores, remaining);
  for (std::int64_t id = 0; id < 50; ++id) {
    const auto rows = scores.row(id);
    const std::int64_t left = remaining + 49 - id;
    // Rows far from the next compression are as those before the last one: they are in the totals.
    for (std::size_t h = 0; h < 2; ++h) {
      std::vector<float> weights(rows[2 * h].size());
      for (std::size_t g = 0; g < 2; ++g)
        for (std::size_t j = 0; j < weights.size(); ++j) weights[j] += rows[2 * h + g][j];
      of_steps.observe(static_cast<std::int64_t>(h), weights, left);
    }
  }
  for (std::int64_t h = 0; h < 2; ++h) {
    const auto a = of_prompt.recent_sum(h), b = of_steps.recent_sum(h);
    const auto c = of_prompt.total(h), d = of_steps.total(h);
    ASSERT_EQ(a.size(), 50u);
    ASSERT_EQ(b.size(), 50u);
    ASSERT_EQ(c.size(), 50u);
    for (std::size_t j = 0; j < 50; ++j) {
      EXPECT_NEAR(a[j], b[j], 2e-2);
      EXPECT_NEAR(c[j], d[j], 0.1);
    }
  }
}

TEST(AttentionSums, MergedRowsAddUpAndDroppedRowsGo) {
  AttentionSums sums(1, {true, 2, 4});
  sums.observe(0, std::vector<float>{.5f, .25f, .125f, .125f}, 1);
  sums.regroup(0, std::vector<std::int32_t>{1, -1, 1}, 2);
  EXPECT_THAT(sums.total(0), ElementsAre(0, .625f, .125f));
  EXPECT_THAT(sums.recent_sum(0), ElementsAre(0, .625f, .125f));
  sums.set_reach(0, {0, 7, 0});
  EXPECT_THAT(sums.reach(0), ElementsAre(0, 7));
  sums.drop_front(0, 2);
  EXPECT_THAT(sums.total(0), ElementsAre(.125f));
  sums.truncate(0, 0);
  EXPECT_THAT(sums.total(0), ElementsAre());
}

TEST(AttentionSums, AreReadBackAsTheyAreAndGoOnAlike) {
  RandomStream random(4, "test", "rows");
  AttentionSums sums(3, {true, 6, 4});
  const auto observe = [&](AttentionSums& to, std::int64_t remaining) {
    for (std::int64_t h = 0; h < 3; ++h) {
      std::vector<float> row(9);
      for (float& w : row) w = random.uniform();
      to.observe(h, row, remaining);
    }
  };
  for (const std::int64_t remaining : {3, 2, 1, 0}) observe(sums, remaining);
  sums.settle();
  observe(sums, 3);
  sums.set_reach(1, {0, 300, 2});
  const Bytes bytes = bytes_of(sums);
  ByteReader reader(bytes, "test");
  AttentionSums copy = AttentionSums::read(reader, 3, sums.form(), 9);
  reader.expect_end();
  EXPECT_EQ(bytes_of(copy), bytes);
  const std::uint64_t at = random.position();
  observe(sums, 2);
  random.seek(at);
  observe(copy, 2);
  EXPECT_EQ(bytes_of(copy), bytes_of(sums));
  EXPECT_EQ(copy.total(2), sums.total(2));
  EXPECT_EQ(copy.recent_sum(2), sums.recent_sum(2));
}

TEST(AttentionSums, RefuseBytesThatAreNoSums) {
  AttentionSums sums(1, {true, 6, 4});
  sums.observe(0, std::vector<float>(5, .2f), 1);
  const Bytes bytes = bytes_of(sums);
  const auto read = [&](ByteSpan from, std::int64_t most) {
    ByteReader reader(from, "test");
    const AttentionSums copy = AttentionSums::read(reader, 1, sums.form(), most);
    reader.expect_end();
  };
  EXPECT_NO_THROW(read(bytes, 5));
  EXPECT_THROW(read(bytes, 4), Error);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THROW(read(ByteSpan(bytes).first(length), 5), Error) << length;
  Bytes negative = bytes;
  negative[negative.size() - 2] = std::byte{0xB2};  // the sign of the last weight
  EXPECT_THROW(read(negative, 5), Error);
  sums.set_reach(0, {3, 4});
  Bytes short_reach = bytes_of(sums);
  EXPECT_NO_THROW(read(short_reach, 5));
  short_reach[short_reach.size() - 3] = std::byte{5};  // said to be five, and two are there
  EXPECT_THROW(read(short_reach, 5), Error);
}

TEST(AttentionSums, StayFinite) {
  AttentionSums sums(1, {true, 0, 1});
  for (int i = 0; i < 200; ++i) {
    sums.observe(0, std::vector<float>{1000}, 0);
    sums.settle();
  }
  EXPECT_THAT(sums.total(0), ElementsAre(65504));
}

}  // namespace
}  // namespace laconic
