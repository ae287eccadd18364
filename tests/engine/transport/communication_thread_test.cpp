#include "engine/transport/communication_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

// Two ranks, each with a communication thread of its own.
void run_two(const std::function<void(CommunicationThread&)>& body) {
  ThreadWorld world(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      CommunicationThread thread([&, rank] { return world.communicator(rank); });
      body(thread);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CommunicationThread, RunsExchangesInOrderAndCountsThem) {
  run_two([](CommunicationThread& thread) {
    std::vector<float> first(1000, 1.0f), second(1000, 2.0f);
    auto a = thread.submit("first", [&](Communicator& c) { all_reduce_sum(c, first); });
    auto b = thread.submit("second", [&](Communicator& c) { all_reduce_sum(c, second); });
    b.wait();
    EXPECT_TRUE(a.done());
    a.wait();
    EXPECT_EQ(first[999], 2.0f);
    EXPECT_EQ(second[0], 4.0f);
    const std::vector<TimelineSpan> timeline = thread.take_timeline();
    ASSERT_EQ(timeline.size(), 2u);
    EXPECT_EQ(timeline[0].name, "first");
    EXPECT_LE(timeline[0].end, timeline[1].begin);
    EXPECT_TRUE(thread.take_timeline().empty());
    EXPECT_EQ(thread.traffic(Exchange::all_reduce).sent_bytes, 2u * 4000);
  });
}

TEST(CommunicationThread, TheCallerGoesOnWhileItExchanges) {
  run_two([](CommunicationThread& thread) {
    std::atomic<bool> began = false, went_on = false;
    const auto wait_for = [](const std::atomic<bool>& flag) {
      const double limit = steady_seconds() + 20;
      while (!flag && steady_seconds() < limit) std::this_thread::yield();
      return flag.load();
    };
    // An exchange that ends only when the caller has gone on beside it.
    auto handle = thread.submit("slow", [&](Communicator& c) {
      began = true;
      EXPECT_TRUE(wait_for(went_on));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      barrier(c);
    });
    ASSERT_TRUE(wait_for(began));
    const double beside = steady_seconds();
    went_on = true;
    handle.wait();
    const double end = steady_seconds();
    const TimelineSpan span = thread.take_timeline().front();
    EXPECT_LE(span.begin, beside);
    EXPECT_GT(span.end, beside);
    EXPECT_GT(thread.waited_seconds(), 0.0);
    EXPECT_LE(thread.waited_seconds(), end - beside) << "only what was spent in wait()";
  });
}

TEST(CommunicationThread, AFailureComesOutAtWaitAndStopsWhatFollows) {
  ThreadWorld world(1);
  CommunicationThread thread([&] { return world.communicator(0); });
  bool ran = false;
  auto bad = thread.submit("bad", [](Communicator&) { fail(ErrorKind::io, "lost"); });
  auto after = thread.submit("after", [&](Communicator&) { ran = true; });
  EXPECT_THROW(after.wait(), Error);
  EXPECT_THROW(bad.wait(), Error);
  EXPECT_FALSE(ran);
  EXPECT_THROW(thread.run("later", [](Communicator&) {}), Error);
}

TEST(CommunicationThread, WhatMakingTheCommunicatorThrowsComesOut) {
  EXPECT_THROW(
      CommunicationThread([]() -> std::unique_ptr<Communicator> { fail(ErrorKind::io, "no network"); }),
      Error);
}

}  // namespace
}  // namespace laconic
