// Threads as ranks with limited links, and messages that are asked for before they are taken.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/communication_thread.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

TEST(LimitedLink, MessagesAreThereWhenTheirLastByteHasPassed) {
  ThreadWorld world(2, {1e5, 0.02});
  const auto sender = world.communicator(0), receiver = world.communicator(1);
  const double begin = steady_seconds();
  sender->send(1, 1, Bytes(5000));
  sender->send(1, 1, Bytes(10000));
  EXPECT_LT(steady_seconds() - begin, 0.05) << "whoever sends does not wait";
  EXPECT_FALSE(receiver->ready(0, 1));
  EXPECT_EQ(receiver->receive(0, 1).size(), 5000u);
  EXPECT_GE(steady_seconds() - begin, 0.05 + 0.02 - 1e-3);
  EXPECT_EQ(receiver->receive(0, 1).size(), 10000u);
  EXPECT_GE(steady_seconds() - begin, 0.15 + 0.02 - 1e-3) << "one after the other";
  // Each rank has a link of its own.
  const double back = steady_seconds();
  receiver->send(0, 1, Bytes(10));
  sender->receive(1, 1);
  EXPECT_LT(steady_seconds() - back, 0.1);
}

TEST(Ready, SaysWhetherAMessageIsThereOrItsSenderGone) {
  ThreadWorld world(2);
  const auto first = world.communicator(0), second = world.communicator(1);
  EXPECT_FALSE(second->ready(0, 7));
  first->send(1, 7, Bytes(3));
  EXPECT_TRUE(second->ready(0, 7));
  EXPECT_FALSE(second->ready(0, 8));
  first->abandon("a test");
  EXPECT_TRUE(second->ready(0, 7)) << "what was sent stays";
  EXPECT_EQ(second->receive(0, 7).size(), 3u);
  EXPECT_THROW(second->ready(0, 7), Error);
}

TEST(Wait, EndsWithAMessageWithAWakeAndWithItsTime) {
  ThreadWorld world(2, {1e5, 0});
  const auto sender = world.communicator(0), receiver = world.communicator(1);
  EXPECT_TRUE(receiver->notifies());
  sender->send(1, 1, Bytes(5000));
  double begin = steady_seconds();
  receiver->wait(20);
  EXPECT_GE(steady_seconds() - begin, 0.05 - 1e-2) << "not before it is there";
  EXPECT_LT(steady_seconds() - begin, 10);
  EXPECT_TRUE(receiver->ready(0, 1));
  begin = steady_seconds();
  receiver->wait(0.02);  // what was seen already is no news
  EXPECT_GE(steady_seconds() - begin, 0.02 - 1e-3);
  receiver->wake();
  begin = steady_seconds();
  receiver->wait(20);
  EXPECT_LT(steady_seconds() - begin, 10);
  sender->abandon("a test");
  receiver->wait(20);
  EXPECT_LT(steady_seconds() - begin, 10);
}

}  // namespace
}  // namespace laconic
