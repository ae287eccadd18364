// The measuring itself: what is counted, in which order, and that generated models run.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/base/threads.h"
#include "runtime/benchmark/attention.h"
#include "runtime/benchmark/coders.h"
#include "runtime/benchmark/decode.h"
#include "runtime/benchmark/kernels.h"

namespace laconic {
namespace {

TEST(Benchmark, Medians) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

TEST(Benchmark, ACopyMeasuredAsAKernelHasARatioNearOne) {
  CopyProbe copy, other;
  Pass pass{"copy", CopyProbe::bytes, 0, 0.5, [&] { other.run(); }};
  const Measured measured = measure(pass, copy, 3);
  EXPECT_EQ(measured.threads, thread_count());
  EXPECT_GT(measured.rate, 0);
  EXPECT_GT(measured.processor_ratio, 0.3);
  EXPECT_LT(measured.processor_ratio, 3);
  pass.bytes /= 4;  // the same work counted with fewer bytes
  EXPECT_LT(measure(pass, copy, 1).processor_ratio, 0.75);
}

TEST(Benchmark, KernelsRotateOverMoreThanTheCopy) {
  int passes = 0;
  const char* nightly = std::getenv("LACONIC_NIGHTLY");
  const bool products = nightly != nullptr && *nightly != '\0';  // matrices take seconds to make
  for (const PassMaker& maker : kernel_passes()) {
    if (maker.name != "unpack 3 bits" && !(products && maker.name == "product 2-bit")) continue;
    const Pass pass = maker.make();
    EXPECT_GE(pass.bytes, CopyProbe::bytes) << pass.name;
    EXPECT_GT(pass.wanted_ratio, 0) << pass.name;
    pass.run();
    ++passes;
  }
  EXPECT_EQ(passes, products ? 2 : 1);
}

TEST(Benchmark, DecodeTakesEveryFormOfTheModelAtEveryThreadCount) {
  DecodeOptions options;
  options.model.layers = 2;
  options.model.hidden = 64;
  options.model.intermediate = 128;
  options.model.heads = 4;
  options.model.kv_heads = 2;
  options.tokens = 2;
  options.rounds = 2;
  options.threads = {1, 2};
  const int before = thread_count();
  const std::vector<DecodeSpeed> speeds = measure_decode(options);
  EXPECT_EQ(thread_count(), before);
  ASSERT_EQ(speeds.size(), 6u);
  for (std::size_t i = 0; i < speeds.size(); i += 3) {
    EXPECT_EQ(speeds[i].name, "bf16");
    EXPECT_EQ(speeds[i].speedup, 1);
    EXPECT_EQ(speeds[i].threads, i == 0 ? 1 : 2);
    EXPECT_LT(speeds[i + 1].linear_bytes * 3, speeds[i].linear_bytes);
    EXPECT_LT(speeds[i + 2].linear_bytes * 6, speeds[i].linear_bytes);
    EXPECT_GT(speeds[i + 2].tokens_per_second, 0);
  }
}

TEST(Benchmark, CodersAreMeasuredOnTheSameBytes) {
  const std::vector<CoderSpeed> speeds = measure_coders(1);
  ASSERT_EQ(speeds.size(), 3u);
  for (const CoderSpeed& speed : speeds) {
    EXPECT_NEAR(speed.bits_per_byte, 6.4, 0.1) << speed.name;
    EXPECT_GT(speed.decode_rate, 0);
  }
  EXPECT_GT(speeds.front().wanted_rate, 0);
  EXPECT_LE(speeds.front().wanted_rate, 500e6);
}

TEST(Benchmark, AttentionIsMeasuredBesideWhatItReplaces) {
  AttentionBenchmark what;
  what.tokens = 100;
  what.head_dim = 16;
  what.naive = true;
  what.rounds = 2;
  const AttentionSpeed speed = measure_attention(what);
  EXPECT_EQ(speed.threads, thread_count());
  for (const double rate : {speed.tiled_rate, speed.composed_rate, speed.naive_rate, speed.gemm_rate})
    EXPECT_GT(rate, 0);
  EXPECT_GT(speed.of_gemm, 0);
  EXPECT_GT(speed.times_naive_processor, 0);
  EXPECT_EQ(speed.composed_scratch, 100u * 64 * 4);
  what.causal = false;
  what.naive = false;
  EXPECT_EQ(measure_attention(what).times_naive, 0);
}

TEST(Benchmark, TilesAreSearchedBesideTheNamedOnes) {
  AttentionBenchmark what;
  what.tokens = 64;
  what.head_dim = 8;
  what.rounds = 1;
  const TileSearch search = search_tiles(what);
  EXPECT_EQ(search.tried.size(), 144u);
  ASSERT_EQ(search.named.size(), 3u);
  EXPECT_EQ(search.named[1].tiles.outer_rows, 128);  // all rows of a group for each block of keys
  EXPECT_GT(search.best.rate, 0);
  EXPECT_GT(search.planned_of_best, 0);
}

}  // namespace
}  // namespace laconic
