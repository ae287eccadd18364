#include "engine/transport/paced_communicator.h"

#include <gtest/gtest.h>

#include <chrono>

#include "engine/base/error.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

TEST(PacedCommunicator, AMessageTakesItsBytesOverTheRate) {
  run_ranks(2, [](Communicator& carrier) {
    PacedCommunicator paced(carrier, {1e6, 0.01});
    const auto begin = Clock::now();
    if (paced.rank() == 0) {
      // Two messages leave one after the other, and the sender waits for neither.
      paced.send(1, 0, Bytes(50'000));
      paced.send(1, 0, Bytes(50'000));
      EXPECT_LT(seconds_since(begin), 0.05);
      EXPECT_EQ(paced.traffic().sent_bytes, 100'000u);  // the time of arrival is not the program's
    } else {
      EXPECT_EQ(paced.receive(0, 0).size(), 50'000u);
      EXPECT_GE(seconds_since(begin), 0.04);
      EXPECT_EQ(paced.receive(0, 0).size(), 50'000u);
      EXPECT_GE(seconds_since(begin), 0.09);
      EXPECT_EQ(paced.traffic().received_bytes, 100'000u);
      EXPECT_GE(paced.waited(), 0.05);
    }
  });
}

TEST(PacedCommunicator, SumsAreThoseOfItsCarrier) {
  run_ranks(3, [](Communicator& carrier) {
    std::vector<float> plain(100), values(100);
    for (std::size_t i = 0; i < 100; ++i)
      plain[i] = values[i] = 0.1f * static_cast<float>(carrier.rank() + i);
    all_reduce_sum(carrier, plain);
    PacedCommunicator paced(carrier, {1e8, 0});
    all_reduce_sum(paced, values);
    EXPECT_EQ(values, plain);
  });
}

TEST(PacedCommunicator, RefusesLinksThatCarryNothing) {
  run_ranks(1, [](Communicator& carrier) {
    EXPECT_THROW(PacedCommunicator(carrier, {0, 0}), Error);
    EXPECT_THROW(PacedCommunicator(carrier, {1, -1}), Error);
  });
}

}  // namespace
}  // namespace laconic
