// What a growing cache takes of anonymous memory is what it accounts for: both grow by the same while tokens
// are appended, and what a step takes for a time does not grow. A few tokens always; 32 k when
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

// A line of the process's status, in bytes; 0 where the system does not have it.
std::uint64_t own_status(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::strtoull(line.c_str() + name.size(), nullptr, 10) * 1024;
  }
  return 0;
}

std::uint64_t own_anonymous_bytes() {
  return_freed_memory();
  return own_status("RssAnon:");
}

// What `work` takes for a time, above what the process held before.
template <class Work>
double peak_of(const Work& work) {
  return_freed_memory();
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
  const std::uint64_t before = own_status("VmRSS:");
  work();
  return static_cast<double>(own_status("VmHWM:")) - static_cast<double>(before);
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
  struct Growth {
    double accounted = 0, held = 0;
    double early_peak = 0, late_peak = 0;  // of one piece more, at the first length and at the last
  };
  static Growth grow(std::int64_t kv_heads, std::int64_t from, std::int64_t to) {
    KvShape shape;
    shape.layers = 2;
    shape.kv_heads = shape.heads = kv_heads;
    shape.head_dim = 64;
    CacheRequest request;
    request.shape = shape;
    const auto cache = CacheFactory(GetParam(), request).make();
    RandomFeed feed(shape);
    feed.grow(*cache, 1);  // no prompt: the first row is alone
    feed.grow(*cache, from - piece);
    Growth growth;
    growth.early_peak = peak_of([&] { feed.grow(*cache, from); });
    const std::uint64_t accounted_before = cache->bytes().total(), held_before = own_anonymous_bytes();
    feed.grow(*cache, to);
    growth.accounted = static_cast<double>(cache->bytes().total() - accounted_before);
    growth.held = static_cast<double>(own_anonymous_bytes()) - static_cast<double>(held_before);
    growth.late_peak = peak_of([&] { feed.grow(*cache, to + piece); });
    std::printf(
        "%s, %lld to %lld tokens: accounted %.3f MB, held %.3f MB; a piece takes %.3f, then %.3f MB\n",
        GetParam(), static_cast<long long>(from), static_cast<long long>(to), growth.accounted / 1e6,
        growth.held / 1e6, growth.early_peak / 1e6, growth.late_peak / 1e6);
    return growth;
  }
  // Under AddressSanitizer freed memory stays, and more is taken than is asked for.
  static bool measurable() {
#ifdef LACONIC_ADDRESS_SANITIZER
    return false;
#else
    return own_anonymous_bytes() > 0;
#endif
  }
};

TEST_P(CacheMemory, GrowsByWhatIsAccountedFor) {
  if (!measurable()) GTEST_SKIP() << "the system does not say how much anonymous memory there is";
  const Growth growth = grow(16, 256, 1536);
  EXPECT_NEAR(growth.held, growth.accounted, 0.02 * growth.accounted + (1 << 20));
}

TEST_P(CacheMemory, GrowsByWhatIsAccountedForTo32kTokens) {
  if (const char* nightly = std::getenv("LACONIC_NIGHTLY"); nightly == nullptr || *nightly == 0)
    GTEST_SKIP() << "set LACONIC_NIGHTLY to run it";
  if (!measurable()) GTEST_SKIP() << "the system does not say how much anonymous memory there is";
  const Growth growth = grow(8, 2048, 32768);
  EXPECT_NEAR(growth.held, growth.accounted, 0.02 * growth.accounted + (1 << 20));
  // Scores of one piece with all tokens would be several times as much.
  EXPECT_LT(growth.late_peak, growth.early_peak + (1 << 20));
}

INSTANTIATE_TEST_SUITE_P(Caches, CacheMemory,
                         testing::Values("f16", "per-token(bits=8)", "kivi(bits=4)", "kivi(bits=2)"),
                         [](const auto& cache) {
                           std::string name = cache.param;
                           std::erase_if(
                               name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
                           return name;
                         });

}  // namespace
}  // namespace laconic
