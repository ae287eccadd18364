#include "runtime/cache/token_index.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

TokenIndex round_trip(const TokenIndex& index) {
  ByteWriter writer;
  index.write(writer);
  EXPECT_EQ(index.bytes().total(), writer.size());
  ByteReader reader(writer.span(), "test");
  TokenIndex copy = TokenIndex::read(reader, index.heads(), 1000);
  reader.expect_end();
  return copy;
}

TEST(TokenIndex, ARunIsConsecutive) {
  const TokenIndex index = round_trip(TokenIndex::run(3, 17, 5));
  EXPECT_TRUE(index.consecutive());
  EXPECT_EQ(index.positions(2), (TokenIndex::Positions{17, 18, 19, 20, 21}));
}

TEST(TokenIndex, ASplitOfAllTokensIsOneBitEach) {
  const TokenIndex index =
      round_trip(TokenIndex::listed(10, 6, {{{11, 14}, {10, 12, 13, 15}}, {{10, 15}, {11, 12, 13, 14}}}));
  EXPECT_FALSE(index.consecutive());
  EXPECT_EQ(index.bytes().indices, 2u);
  EXPECT_EQ(index.positions(0), (TokenIndex::Positions{11, 14, 10, 12, 13, 15}));
  EXPECT_EQ(index.class_rows(1, 1), 4);
}

TEST(TokenIndex, WhatAllHeadsHaveInCommonIsWrittenOnce) {
  const std::vector<TokenIndex::Positions> split = {{11, 14}, {10, 12, 13, 15}};
  const TokenIndex one = TokenIndex::listed(10, 6, {split});
  const TokenIndex index = round_trip(TokenIndex::listed(10, 6, {split, split, split}));
  EXPECT_EQ(index.bytes().total(), one.bytes().total());
  for (std::int64_t head = 0; head < 3; ++head) EXPECT_EQ(index.positions(head), one.positions(0));
  const TokenIndex lists = round_trip(TokenIndex::listed(0, 90, {{{3, 80}}, {{3, 80}}}));
  EXPECT_EQ(lists.bytes().indices, 2u);
  EXPECT_EQ(lists.positions(1), (TokenIndex::Positions{3, 80}));
}

TEST(TokenIndex, ChosenTokensAreLists) {
  const TokenIndex index = round_trip(TokenIndex::listed(0, 400, {{{0, 1, 200, 399}}, {{7}}}));
  EXPECT_EQ(index.rows(0), 4);
  EXPECT_EQ(index.rows(1), 1);
  EXPECT_EQ(index.positions(0), (TokenIndex::Positions{0, 1, 200, 399}));
}

TEST(TokenIndex, RefusesPositionsThatRepeatOrLeaveTheSpan) {
  const auto read = [](std::initializer_list<int> raw, std::int64_t heads = 1) {
    Bytes bytes;
    for (const int b : raw) bytes.push_back(static_cast<std::byte>(b));
    ByteReader reader(bytes, "test");
    return TokenIndex::read(reader, heads, 1000);
  };
  EXPECT_NO_THROW(read({2, 0, 4, 2, 1, 1, 2, 3, 0}));      // lists: {3}, {0}
  EXPECT_THROW(read({2, 0, 4, 2, 1, 1, 2, 3, 3}), Error);  // 3 twice
  EXPECT_THROW(read({2, 0, 4, 1, 1, 1, 4}), Error);        // position 4 of 4
  EXPECT_THROW(read({1, 0, 4, 2, 1, 3, 1, 3}), Error);     // a bitmap of two ones for one token
  EXPECT_NO_THROW(read({1, 0, 4, 2, 1, 3, 1, 2}));
  EXPECT_THROW(read({1, 0, 4, 2, 1, 3, 1, 16}), Error);  // marks a fifth token of four
  EXPECT_THROW(read({3, 0, 4}), Error);
  EXPECT_THROW(read({8, 0, 4}), Error);
  EXPECT_NO_THROW(read({6, 0, 4, 1, 1, 1, 3}, 2));
  EXPECT_THROW(read({6, 0, 4, 1, 1, 1, 3}, 1), Error);           // a single head is written as itself
  EXPECT_THROW(read({4, 0, 4}, 2), Error);                       // a run has no lists
  EXPECT_THROW(read({2, 0, 4, 1, 1, 1, 3, 1, 1, 3}, 2), Error);  // twice what is alike
}

}  // namespace
}  // namespace laconic
