#include "methods/text/logzip/id_sequence.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::logzip {
namespace {

void expect_round_trip(const std::vector<std::uint32_t>& ids, std::uint32_t limit) {
  const Bytes coded = encode_ids(ids);
  EXPECT_EQ(decode_ids(coded, ids.size(), limit, "ids"), ids);
}

TEST(IdSequence, RoundTrips) {
  expect_round_trip({}, 1);
  expect_round_trip({7}, 8);
  expect_round_trip(std::vector<std::uint32_t>(1000, 3), 4);
  expect_round_trip({0, 1, 0, 1, 2, 1u << 20}, (1u << 20) + 1);
  RandomStream random(5, "ids", "values");
  for (const std::uint32_t kinds : {2u, 3u, 17u, 900u}) {
    std::vector<std::uint32_t> ids(3000);
    for (std::uint32_t& id : ids) id = random.bits() % kinds;
    expect_round_trip(ids, kinds);
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
  std::vector<std::uint32_t> ids;
  RandomStream random(8, "ids", "damage");
  for (int i = 0; i < 200; ++i) ids.push_back(random.bits() % 9);
  const Bytes coded = encode_ids(ids);
  for (std::size_t cut = 0; cut < coded.size(); ++cut) {
    try {
      for (const std::uint32_t id : decode_ids(ByteSpan(coded).first(cut), ids.size(), 9, "ids"))
        ASSERT_LT(id, 9u);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::corrupt);
    }
  }
  for (std::size_t bit = 0; bit < coded.size() * 8; ++bit) {
    Bytes damaged = coded;
    damaged[bit / 8] ^= std::byte{1} << bit % 8;
    try {
      for (const std::uint32_t id : decode_ids(damaged, ids.size(), 9, "ids")) ASSERT_LT(id, 9u);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::corrupt);
    }
  }
  EXPECT_THROW(decode_ids(encode_ids(std::vector<std::uint32_t>{9}), 1, 9, "ids"), Error);
}

}  // namespace
}  // namespace laconic::logzip
