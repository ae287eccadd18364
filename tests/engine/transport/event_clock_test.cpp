#include "engine/transport/event_clock.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "engine/base/error.h"

namespace laconic {
namespace {

TEST(EventClock, RunsInOrderOfTimeThenOfPlanning) {
  EventClock clock;
  std::vector<int> seen;
  clock.at(2, [&] { seen.push_back(3); });
  clock.at(1, [&] {
    seen.push_back(1);
    clock.after(1, [&] { seen.push_back(4); });
    clock.after(0, [&] { seen.push_back(2); });
  });
  clock.run();
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(clock.now(), 2);
  EXPECT_EQ(clock.events_run(), 4u);
  EXPECT_FALSE(clock.step());
}

TEST(EventClock, StopsAtATime) {
  EventClock clock;
  int seen = 0;
  clock.at(1, [&] { ++seen; });
  clock.at(3, [&] { ++seen; });
  clock.run_until(2);
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(clock.now(), 2);
  EXPECT_FALSE(clock.empty());
}

TEST(EventClock, RefusesThePast) {
  EventClock clock;
  clock.at(1, [] {});
  clock.run();
  EXPECT_THROW(clock.at(0.5, [] {}), Error);
  EXPECT_THROW(clock.at(std::numeric_limits<double>::quiet_NaN(), [] {}), Error);
  EXPECT_THROW(clock.run_until(0.5), Error);
}

}  // namespace
}  // namespace laconic
