#include "engine/attention/two_level_memory.h"

#include <gtest/gtest.h>

#include "engine/attention/lru_cache.h"
#include "engine/base/error.h"

namespace laconic {
namespace {

TEST(TwoLevelMemory, CountsWhatMovesAndRefusesWhatDoesNotFit) {
  std::vector<float> a = {1, 2, 3, 4, 5, 6}, b(6);
  TwoLevelMemory memory(5);
  auto& from = memory.place("a", a);
  auto& to = memory.place("b", b);
  {
    auto buffer = memory.allocate(3);
    memory.read(from, 1, 2, buffer.all());  // 2 4 6
    EXPECT_EQ(memory.dot(buffer.all(), buffer.all()), 56);
    memory.scale(buffer.part(1, 2), 10);
    memory.write(buffer.all(), to, 0, 1);
    EXPECT_EQ(memory.resident(), 3);
    EXPECT_THROW(memory.allocate(3), Error);
    auto more = memory.allocate(2);
    EXPECT_EQ(memory.peak(), 5);
    EXPECT_THROW(memory.read(from, 4, 2, buffer.part(0, 2)), Error);
    EXPECT_THROW(buffer.part(2, 2), Error);
  }
  EXPECT_EQ(memory.resident(), 0);
  EXPECT_EQ(memory.peak(), 5);
  EXPECT_EQ(b, (std::vector<float>{2, 40, 60, 0, 0, 0}));
  EXPECT_EQ(memory.traffic(), (MovedWords{3, 3}));
  EXPECT_EQ(from.traffic, (MovedWords{3, 0}));
  EXPECT_EQ(to.traffic, (MovedWords{0, 3}));
}

TEST(LruCache, EvictsTheWordUnusedForLongest) {
  LruCache cache(2);
  cache.touch(10, false);
  cache.touch(20, true);
  cache.touch(10, false);  // 20 is now the older
  cache.touch(30, false);  // evicts 20, which was changed
  EXPECT_EQ(cache.misses(), 3u);
  EXPECT_EQ(cache.write_backs(), 1u);
  cache.touch(10, true);
  EXPECT_EQ(cache.misses(), 3u);
  EXPECT_EQ(cache.write_backs(), 2u);  // 10 has to go back some day
  cache.touch(20, false);              // evicts 30, unchanged
  cache.touch(30, false);              // evicts 10
  EXPECT_EQ(cache.misses(), 5u);
  EXPECT_EQ(cache.write_backs(), 2u);
  EXPECT_EQ(cache.accesses(), 7u);
}

TEST(LruCache, HoldsASequenceThatFitsAndThrashesOnOneWordMore) {
  for (const std::int64_t length : {7, 8, 9}) {
    LruCache cache(8);
    for (int round = 0; round < 10; ++round) {
      for (std::int64_t i = 0; i < length; ++i) cache.touch(i, false);
    }
    EXPECT_EQ(cache.misses(), static_cast<std::uint64_t>(length <= 8 ? length : 10 * length));
  }
}

TEST(LruCache, OfOneWord) {
  LruCache cache(1);
  for (const std::int64_t address : {5, 5, 3, 5}) cache.touch(address, true);
  EXPECT_EQ(cache.misses(), 3u);
  EXPECT_EQ(cache.write_backs(), 3u);
}

}  // namespace
}  // namespace laconic
