#include "runtime/cache/prefix_caches.h"

#include <gtest/gtest.h>

#include <numeric>

#include "methods/cache/pipeline.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

class PrefixCachesTest : public testing::Test {
 protected:
  PrefixCachesTest() : layer_({1, 2, 4, 16, 8, {0}, nullptr}, 400), tokens_(400) {
    std::iota(tokens_.begin(), tokens_.end(), 0);
  }
  std::unique_ptr<KvCache> filled(std::int64_t count) const {
    auto cache = CacheFactory("kivi(bits=4)", {layer_.shape, {}, {}, 0}).make();
    layer_.run(*cache, 0, count, count);
    return cache;
  }
  RandomLayer layer_;
  std::vector<std::int32_t> tokens_;
};

TEST_F(PrefixCachesTest, ARequestGoesOnFromTheLongestPrefix) {
  PrefixCaches caches(1 << 20);
  EXPECT_EQ(caches.find(tokens_), nullptr);
  caches.keep(tokens_, *filled(128));
  const auto longer = filled(300);
  caches.keep(tokens_, *longer);
  const auto found = caches.find(tokens_);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->length(), 300);
  const auto direct = longer->fork();
  EXPECT_EQ(layer_.run(*found, 300, 50, 50), layer_.run(*direct, 300, 50, 50));

  std::vector<std::int32_t> other = tokens_;
  other[200] = -1;
  EXPECT_EQ(caches.find(other)->length(), 200);
  // The last token's logits are wanted, so it is left to be computed.
  EXPECT_EQ(caches.find(std::span(tokens_).first(300))->length(), 299);
  other[0] = -1;
  EXPECT_EQ(caches.find(other), nullptr);
  EXPECT_EQ(caches.find({}), nullptr);
}

TEST_F(PrefixCachesTest, SharedBlocksCountOnceAndTheOldestSequenceGoesFirst) {
  const auto cache = filled(256);
  const auto fork = cache->fork();
  layer_.run(*fork, 256, 60, 60);
  const KvCache* both[] = {cache.get(), fork.get()};
  EXPECT_LT(bytes_together(both), cache->bytes().total() + fork->bytes().total());
  EXPECT_GT(bytes_together(both), fork->bytes().total());

  PrefixCaches caches(bytes_together(both) + 100);
  caches.keep(tokens_, *cache);
  caches.keep(tokens_, *fork);
  EXPECT_EQ(caches.sequences(), 2u);
  EXPECT_EQ(caches.bytes(), bytes_together(both));
  std::vector<std::int32_t> other(400, 7);
  caches.keep(other, *filled(256));
  EXPECT_LE(caches.bytes(), bytes_together(both) + 100);
  EXPECT_EQ(caches.find(other)->length(), 256);
}

}  // namespace
}  // namespace laconic
