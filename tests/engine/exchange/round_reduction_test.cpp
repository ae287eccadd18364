// Reductions beside computation: results are whole before they are seen, contributions stay as they are while
// they are in flight, waiting is counted, and what is in flight is not saved.
#include "engine/exchange/round_reduction.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "engine/base/error.h"
#include "engine/exchange/dense_exchange.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

constexpr std::size_t numbers = 1000;

void on_ranks(int ranks, const std::function<void(CommunicationThread&)>& body) {
  ThreadWorld world(ranks);
  run_rank_threads(ranks, [&](int rank) {
    CommunicationThread thread([&] { return world.communicator(rank); });
    body(thread);
  });
}

RoundReduction::Reduce slow_sum(double seconds) {
  return [seconds](Communicator& communicator, std::uint64_t, std::span<const float> own,
                   std::span<float> result) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    std::copy(own.begin(), own.end(), result.begin());
    all_reduce_sum(communicator, result);
    return true;
  };
}

TEST(RoundReduction, GivesTheMeanToAllAndCountsWhoTookPart) {
  on_ranks(3, [](CommunicationThread& thread) {
    const auto exchange = dense_exchange({{"x", {10, 100}, 0, numbers}}, DenseForm::f32);
    RoundReduction reduction(numbers, thread, reduce_by(*exchange));
    for (std::uint64_t round = 1; round <= 3; ++round) {
      for (float& x : reduction.contribution())
        x = static_cast<float>(thread.rank() + 1) * static_cast<float>(round);
      reduction.launch(round);
      const RoundReduction::Result result = reduction.wait();
      EXPECT_TRUE(result.accepted);
      EXPECT_EQ(result.participants, 3);
      EXPECT_EQ(result.round, round);
      EXPECT_GT(result.sent_bytes, 0u);
      for (const float x : result.values) EXPECT_EQ(x, 2 * static_cast<float>(round));
    }
    for (float& x : reduction.contribution()) x = thread.rank() == 1 ? NAN : 1.0f;
    reduction.launch(4);
    EXPECT_FALSE(reduction.wait().accepted) << "on every rank";
  });
}

TEST(RoundReduction, RunsBesideComputationAndCountsOnlyWhatIsWaited) {
  on_ranks(2, [](CommunicationThread& thread) {
    RoundReduction reduction(numbers, thread, slow_sum(0.15));
    std::fill(reduction.contribution().begin(), reduction.contribution().end(), 1.0f);
    const double begin = steady_seconds();
    reduction.launch(1);
    EXPECT_LT(steady_seconds() - begin, 0.1) << "returns at once";
    EXPECT_TRUE(reduction.in_flight());
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const RoundReduction::Result result = reduction.wait();
    EXPECT_LT(reduction.waited_seconds(), 0.1) << "it was hidden";
    EXPECT_GE(result.seconds, 0.15);
    reduction.launch(2);
    reduction.wait();
    EXPECT_GE(reduction.waited_seconds(), 0.1) << "it was not";
  });
}

TEST(RoundReduction, NobodyTouchesWhatIsInFlight) {
  on_ranks(1, [](CommunicationThread& thread) {
    RoundReduction reduction(numbers, thread, slow_sum(0.05));
    std::fill(reduction.contribution().begin(), reduction.contribution().end(), 1.0f);
    EXPECT_THROW(reduction.wait(), Error) << "nothing to wait for";
    reduction.launch(1);
    EXPECT_THROW(reduction.contribution(), Error);
    EXPECT_THROW(reduction.launch(2), Error);
    EXPECT_THROW(reduction.save(), Error);
    reduction.drain();
    EXPECT_THROW(reduction.contribution(), Error) << "done, but not taken";
    EXPECT_NO_THROW(reduction.save());
    reduction.wait();
    EXPECT_NO_THROW(reduction.contribution()[0] = 2);
  });
}

TEST(RoundReduction, AResultIsLeftAloneByTheNextOne) {
  on_ranks(1, [](CommunicationThread& thread) {
    RoundReduction reduction(numbers, thread, slow_sum(0));
    std::fill(reduction.contribution().begin(), reduction.contribution().end(), 1.0f);
    reduction.launch(1);
    const RoundReduction::Result first = reduction.wait();
    std::fill(reduction.contribution().begin(), reduction.contribution().end(), 2.0f);
    reduction.launch(2);
    reduction.drain();
    for (const float x : first.values) EXPECT_EQ(x, 1);
    for (const float x : reduction.wait().values) EXPECT_EQ(x, 2);
  });
}

TEST(RoundReductionDeathTest, AWriteToWhatIsInFlightEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadWorld world(1);
        CommunicationThread thread([&] { return world.communicator(0); });
        RoundReduction reduction(numbers, thread, slow_sum(1));
        const std::span<float> own = reduction.contribution();
        own[0] = 1;
        reduction.launch(1);
        own[0] = 2;
      },
      "");
}

TEST(RoundReduction, ADrainedResultIsKeptForWhoeverGoesOn) {
  on_ranks(2, [](CommunicationThread& thread) {
    const auto exchange = dense_exchange({{"x", {10, 100}, 0, numbers}}, DenseForm::f32);
    RoundReduction first(numbers, thread, reduce_by(*exchange));
    for (std::size_t j = 0; j < numbers; ++j)
      first.contribution()[j] = static_cast<float>(j) + static_cast<float>(thread.rank());
    first.launch(7);
    first.drain();
    const Bytes saved = first.save();
    RoundReduction second(numbers, thread, reduce_by(*exchange));
    second.restore(saved, "test");
    EXPECT_TRUE(second.pending());
    EXPECT_FALSE(second.in_flight());
    const RoundReduction::Result a = first.wait(), b = second.wait();
    EXPECT_EQ(b.round, 7u);
    EXPECT_EQ(b.participants, 2);
    EXPECT_TRUE(std::equal(a.values.begin(), a.values.end(), b.values.begin()));

    const Bytes empty = second.save();
    first.restore(empty, "test");
    EXPECT_FALSE(first.pending());
    Bytes damaged = saved;
    damaged[damaged.size() / 2] ^= std::byte{1};
    EXPECT_THROW(first.restore(damaged, "test"), Error);
    RoundReduction other(numbers - 1, thread, reduce_by(*exchange));
    EXPECT_THROW(other.restore(saved, "test"), Error);
  });
}

TEST(RoundReduction, AFailureComesOutWhereItIsWaitedFor) {
  ThreadWorld world(1);
  CommunicationThread thread([&] { return world.communicator(0); });
  RoundReduction reduction(
      numbers, thread, [](Communicator&, std::uint64_t, std::span<const float>, std::span<float>) -> bool {
        fail(ErrorKind::io, "the link is gone");
      });
  reduction.launch(1);
  EXPECT_THROW(reduction.wait(), Error);
}

}  // namespace
}  // namespace laconic
