#include "methods/text/logzip/id_sequence.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::logzip {
namespace {

constexpr IdCoding codings[] = {IdCoding::mixed, IdCoding::plain};

void expect_round_trip(const std::vector<std::uint32_t>& ids, std::uint32_t limit) {
  for (const IdCoding coding : codings) {
    const Bytes coded = encode_ids(ids, coding);
    EXPECT_EQ(IdSequence(coded, ids.size(), limit, "ids").ids(), ids);
    std::map<std::uint32_t, std::uint32_t> lines, told;
    for (const std::uint32_t id : ids) ++lines[id];
    IdSequence sequence(coded, ids.size(), limit, "ids");
    for (const IdCount& one : sequence.counts()) told[one.id] = one.lines;
    EXPECT_EQ(told, lines);
  }
}

// Long enough for three runs.
std::vector<std::uint32_t> long_sequence() {
  std::vector<std::uint32_t> ids;
  RandomStream random(7, "ids", "runs");
  for (std::uint32_t i = 0; i < 50'000; ++i)
    ids.push_back(i % 3 == 0 ? 5 : 2 * random.below(1 + random.below(i < 20'000 ? 40 : 90)));
  return ids;
}

// Whether damage is noticed; ids within the limit come out where it is not.
bool refused(const Bytes& damaged, std::size_t count, std::uint32_t limit) {
  try {
    IdSequence sequence(damaged, count, limit, "ids");
    std::size_t lines = 0;
    for (const IdCount& one : sequence.counts()) lines += one.lines;
    EXPECT_EQ(lines, count);
    for (const std::uint32_t id : sequence.ids()) EXPECT_LT(id, limit);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
    return true;
  }
  return false;
}

TEST(IdSequence, RoundTrips) {
  expect_round_trip({}, 1);
  expect_round_trip({7}, 8);
  expect_round_trip(std::vector<std::uint32_t>(1000, 3), 4);
  expect_round_trip({0, 1, 0, 1, 2, 1u << 20}, (1u << 20) + 1);
  RandomStream random(5, "ids", "values");
  for (const std::uint32_t kinds : {2u, 3u, 17u, 300u, 900u}) {
    for (const std::size_t lines : {std::size_t{3000}, counted_ids}) {
      std::vector<std::uint32_t> ids(lines);
      for (std::uint32_t& id : ids) id = random.bits() % kinds;
      expect_round_trip(ids, kinds);
    }
  }
}

TEST(IdSequence, RunsAreReadAlone) {
  const std::vector<std::uint32_t> ids = long_sequence();
  expect_round_trip(ids, 200);
  for (const IdCoding coding : codings) {
    const Bytes coded = encode_ids(ids, coding);
    for (const std::size_t line :
         {std::size_t{0}, std::size_t{16'665}, std::size_t{16'667}, std::size_t{30'000}, ids.size() - 1}) {
      IdSequence sequence(coded, ids.size(), 200, "ids");
      const IdRun run = sequence.run_at(line);
      ASSERT_LE(run.first, line);
      ASSERT_GT(run.first + run.ids.size(), line);
      if (coding == IdCoding::mixed) {
        EXPECT_LT(run.ids.size(), 17'000u);
      }
      for (std::size_t i = 0; i < run.ids.size(); ++i) ASSERT_EQ(run.ids[i], ids[run.first + i]);
      std::map<std::uint32_t, std::uint32_t> before, told;
      for (std::size_t i = 0; i < run.first; ++i) ++before[ids[i]];
      for (const IdCount& one : sequence.counts_before(run))
        if (one.lines > 0) told[one.id] = one.lines;
      EXPECT_EQ(told, before);
    }
  }
}

TEST(IdSequence, ACycleCostsNextToNothing) {
  std::vector<std::uint32_t> ids;
  for (std::uint32_t i = 0; i < 20000; ++i) ids.push_back(i % 5 == 4 ? 9 : i % 5);
  EXPECT_LT(encode_ids(ids).size(), 250u);
}

TEST(IdSequence, ChanceCostsItsEntropy) {
  std::vector<std::uint32_t> ids(20000);
  RandomStream random(6, "ids", "chance");
  for (std::uint32_t& id : ids) id = random.bits() % 16;
  EXPECT_LT(encode_ids(ids).size(), 10500u);  // 4 bits each are 10,000
}

TEST(IdSequence, DamageIsAnErrorOrOtherIds) {
  RandomStream random(8, "ids", "damage");
  for (const IdCoding coding : codings)
    for (const std::size_t count : {std::size_t{200}, counted_ids}) {
      std::vector<std::uint32_t> ids;
      for (std::size_t i = 0; i < count; ++i) ids.push_back(random.bits() % 9);
      const Bytes coded = encode_ids(ids, coding);
      const std::size_t step = count > 200 ? 37 : 1;
      for (std::size_t cut = 0; cut < coded.size(); cut += step) {
        Bytes damaged = coded;
        damaged.resize(cut);
        refused(damaged, ids.size(), 9);
      }
      for (std::size_t bit = 0; bit < coded.size() * 8; bit += step) {
        Bytes damaged = coded;
        damaged[bit / 8] ^= std::byte{1} << bit % 8;
        refused(damaged, ids.size(), 9);
      }
      EXPECT_TRUE(refused(coded, ids.size(), 8));
      EXPECT_TRUE(refused({}, ids.size(), 9));
    }
  EXPECT_TRUE(refused(encode_ids(std::vector<std::uint32_t>{9}), 1, 9));
}

}  // namespace
}  // namespace laconic::logzip
