// The measurement behind `laconic bench cache`, on caches of a few tokens.
#include "runtime/benchmark/cache_attention.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "methods/cache/pipeline.h"

namespace laconic {
namespace {

CacheAttentionOptions few_tokens() {
  CacheAttentionOptions options;
  options.layers = 2;
  options.kv_heads = 2;
  options.head_dim = 16;
  options.tokens = 200;
  options.caches = {"f16", "kivi(bits=4)"};
  options.rounds = 1;
  options.least_bytes = 100'000;
  options.make = [](const std::string& cache, const KvShape& shape) {
    CacheRequest request;
    request.shape = shape;
    return CacheFactory(cache, request).make();
  };
  return options;
}

TEST(CacheAttention, MeasuresEveryCacheForEveryNumberOfQueries) {
  for (const bool appended : {false, true}) {
    CacheAttentionOptions options = few_tokens();
    options.appended = appended;
    const CacheAttentionReport report = measure_cache_attention(options);
    ASSERT_EQ(report.speeds.size(), 4u);
    EXPECT_GT(report.copy_rate, 0);
    EXPECT_GT(report.multiply_add_rate, 0);
    for (std::size_t i = 0; i < 4; ++i) {
      const CacheAttentionSpeed& speed = report.speeds[i];
      EXPECT_EQ(speed.cache, options.caches[i % 2]);
      EXPECT_EQ(speed.group, options.groups[i / 2]);
      EXPECT_GE(static_cast<std::uint64_t>(speed.sequences) * speed.bytes, options.least_bytes);
      // One round: rates and times are those of it.
      EXPECT_NEAR(speed.bound_bytes, static_cast<double>(speed.bytes) / report.copy_rate,
                  1e-9 * speed.bound_bytes);
      const double products = 2.0 * 2 * 200 * 2 * 16 * static_cast<double>(speed.group);
      EXPECT_NEAR(speed.bound_products, products / report.multiply_add_rate, 1e-9 * speed.bound_products);
      EXPECT_NEAR(speed.ratio, std::max(speed.bound_bytes, speed.bound_products) / speed.seconds,
                  1e-9 * speed.ratio);
      EXPECT_NEAR(speed.speedup, report.speeds[i / 2 * 2].seconds / speed.seconds, 1e-9 * speed.speedup);
    }
    // What a sequence is said to take is what a cache with these tokens accounts for.
    const std::uint64_t exact = std::uint64_t{2} * 2 * 200 * 2 * 16 * 2;
    EXPECT_GE(report.speeds[0].bytes, exact);
    EXPECT_LT(report.speeds[0].bytes, exact + exact / 10);
    EXPECT_LT(report.speeds[1].bytes, report.speeds[0].bytes / 2);
    // Factors of 16 bits, and none where rows are exact.
    EXPECT_LT(report.speeds[0].divergence, 1e-10);
    EXPECT_GT(report.speeds[1].divergence, report.speeds[0].divergence);
    EXPECT_LT(report.speeds[1].divergence, 1e-6);
  }
}

}  // namespace
}  // namespace laconic
