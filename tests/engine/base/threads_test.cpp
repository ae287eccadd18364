#include "engine/base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace laconic {
namespace {

TEST(Threads, EveryIndexRunsExactlyOnceAtAnyThreadCount) {
  for (int threads : {1, 2, 5}) {
    set_thread_count(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> hits(97);
      parallel_for(97, [&](std::int64_t i) { ++hits[static_cast<std::size_t>(i)]; });
      for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
    }
  }
  set_thread_count(0);
}

TEST(Threads, NestedCallsRunInline) {
  std::atomic<int> sum{0};
  parallel_for(8, [&](std::int64_t) { parallel_for(8, [&](std::int64_t) { ++sum; }); });
  EXPECT_EQ(sum.load(), 64);
}

TEST(Threads, TheFirstExceptionReachesTheCaller) {
  set_thread_count(4);
  EXPECT_THROW(parallel_for(100,
                            [](std::int64_t i) {
                              if (i == 13) throw std::runtime_error("13");
                            }),
               std::runtime_error);
  std::atomic<int> after{0};
  parallel_for(10, [&](std::int64_t) { ++after; });
  EXPECT_EQ(after.load(), 10);
  set_thread_count(0);
}

}  // namespace
}  // namespace laconic
