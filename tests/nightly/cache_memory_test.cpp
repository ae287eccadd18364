// What a growing cache takes of anonymous memory is what it accounts for: both grow by the same while tokens
// are appended, and nothing else grows with the context. A few thousand tokens always; 32 k when
// LACONIC_NIGHTLY is set.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "engine/base/pages.h"
#include "engine/base/random.h"
#include "methods/cache/pipeline.h"

namespace laconic {
namespace {

std::uint64_t own_anonymous_bytes() {
  return_freed_memory();
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
  }
  return 0;
}

constexpr std::int64_t piece = 64;  // rows that come at a time

// Feeds random rows to every layer, from the cache's length to `tokens`. Numbers repeat after 4,096 rows, so
// that they take no memory of their own.
class RandomFeed {
 public:
  explicit RandomFeed(const KvShape& shape)
      : shape_(shape),
        width_(shape.kv_heads * shape.head_dim),
        numbers_(static_cast<std::size_t>(4096 * width_)),
        out_(static_cast<std::size_t>(piece * shape.heads * shape.head_dim)) {
    RandomStream random(5, "cache memory", "rows");
    for (float& x : numbers_) x = random.gaussian();
  }
  void grow(KvCache& cache, std::int64_t tokens) {
    while (cache.length() < tokens) {
      const std::int64_t first = cache.length();
      const std::int64_t count = std::min({piece, tokens - first, 4096 - first % 4096});
      for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
        LayerRows rows;
        rows.rows = count;
        rows.first_position = first;
        rows.keys = rows.queries = numbers_.data() + first % 4096 * width_;
        rows.values = rows.keys;
        cache.attend(layer, rows, out_.data());
      }
    }
  }

 private:
  KvShape shape_;
  std::int64_t width_;
  std::vector<float> numbers_, out_;
};

class CacheMemory : public testing::TestWithParam<const char*> {
 protected:
  static void expect_growth(std::int64_t kv_heads, std::int64_t from, std::int64_t to) {
    KvShape shape;
    shape.layers = 2;
    shape.kv_heads = shape.heads = kv_heads;
    shape.head_dim = 64;
    CacheRequest request;
    request.shape = shape;
    const auto cache = CacheFactory(GetParam(), request).make();
    RandomFeed feed(shape);
    feed.grow(*cache, 1);  // no prompt: the first row is alone
    feed.grow(*cache, from);
    const std::uint64_t accounted_before = cache->bytes().total(), held_before = own_anonymous_bytes();
    if (held_before == 0) GTEST_SKIP() << "the system does not say how much anonymous memory there is";
    feed.grow(*cache, to);
    const auto accounted = static_cast<double>(cache->bytes().total() - accounted_before);
    const double held = static_cast<double>(own_anonymous_bytes()) - static_cast<double>(held_before);
    std::printf("%s, %lld to %lld tokens: accounted %.3f MB, held %.3f MB\n", GetParam(),
                static_cast<long long>(from), static_cast<long long>(to), accounted / 1e6, held / 1e6);
    EXPECT_NEAR(held, accounted, 0.02 * accounted + (1 << 20));
  }
};

TEST_P(CacheMemory, GrowsByWhatIsAccountedFor) { expect_growth(4, 1024, 5120); }

TEST_P(CacheMemory, GrowsByWhatIsAccountedForTo32kTokens) {
  if (std::getenv("LACONIC_NIGHTLY") == nullptr) GTEST_SKIP() << "set LACONIC_NIGHTLY to run it";
  expect_growth(8, 2048, 32768);
}

INSTANTIATE_TEST_SUITE_P(Caches, CacheMemory,
                         testing::Values("f16", "per-token(bits=8)", "kivi(bits=4)", "kivi(bits=2)"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(
                               name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
                           return name;
                         });

}  // namespace
}  // namespace laconic
