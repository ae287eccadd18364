#include "engine/transport/event_clock.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

bool EventClock::later(const Planned& a, const Planned& b) {
  return a.time != b.time ? a.time > b.time : a.order > b.order;
}

void EventClock::at(double time, Event event) {
  require(time >= now_, "an event lies in the future");  // refuses NaN too
  queue_.push_back({time, planned_++, std::move(event)});
  std::push_heap(queue_.begin(), queue_.end(), later);
}

bool EventClock::step() {
  if (queue_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end(), later);
  const Planned next = std::move(queue_.back());
  queue_.pop_back();
  now_ = next.time;
  ++run_;
  next.event();
  return true;
}

void EventClock::run() {
  while (step()) {
  }
}

void EventClock::run_until(double time) {
  require(time >= now_, "the clock does not go back");
  while (!queue_.empty() && queue_.front().time <= time) step();
  now_ = time;
}

}  // namespace laconic
