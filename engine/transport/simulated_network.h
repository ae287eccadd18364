// Links between simulated programs on an event clock: every message arrives after a random delay, in order
// within a link and direction and in any order across links; links close at any moment, as TCP does: what was
// sent before and had no time to arrive may be lost, and each side hears of the end once.
//
// All delays come from one seed, so a run repeats exactly. `Message` is whatever the programs exchange.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/transport/event_clock.h"

namespace laconic {

// How messages of one seed are delayed.
class SimulatedDelays {
 public:
  SimulatedDelays(std::uint64_t seed, double shortest, double longest)
      : random_(seed, "simulated network", ""), shortest_(shortest), longest_(longest) {}
  double next() { return shortest_ + static_cast<double>(random_.uniform()) * (longest_ - shortest_); }

 private:
  RandomStream random_;
  double shortest_, longest_;
};

template <class Message>
class SimulatedNetwork {
 public:
  // One end of a link. Ends are numbered anew for every link; 0 is none.
  using End = std::uint64_t;
  // What a program does about its end of a link.
  struct Handler {
    std::function<void(End, Message&&)> received;
    std::function<void(End)> closed;  // by the other side, or by the network
  };

  SimulatedNetwork(EventClock& clock, std::uint64_t seed, double shortest_delay, double longest_delay)
      : clock_(clock), delays_(seed, shortest_delay, longest_delay) {}

  double delay() { return delays_.next(); }

  // A link between two programs, whose handlers outlive the network's events. Both ends may send at once.
  std::pair<End, End> open(const Handler& a, const Handler& b) {
    ends_.push_back({&a, clock_.now(), true});
    ends_.push_back({&b, clock_.now(), true});
    return {ends_.size() - 1, ends_.size()};
  }

  // Nothing where the end is closed.
  void send(End from, Message message) {
    if (!is_open(from)) return;
    const End to = other_end(from);
    arrive_later(to, [this, to, message = std::move(message)]() mutable {
      Side& side = at(to);
      if (side.open) side.handler->received(to, std::move(message));
    });
  }

  // By the program that holds the end, which hears no more of it. What it sent before still arrives.
  void close(End end) {
    if (!is_open(end)) return;
    at(end).open = false;
    const End to = other_end(end);
    arrive_later(to, [this, to] { end_of(to); });
  }

  // By the network: what is under way is lost, in both directions, and both sides hear of it.
  void cut(End end) {
    if (end == 0) return;
    for (const End each : {end, other_end(end)}) {
      if (!is_open(each) || at(each).cut) continue;
      at(each).cut = true;
      clock_.after(delay(), [this, each] { end_of(each); });
    }
  }

  static End other_end(End end) { return ((end - 1) ^ 1) + 1; }
  bool is_open(End end) const { return end != 0 && ends_[end - 1].open; }

 private:
  struct Side {
    const Handler* handler;
    double last_arrival;  // of what is under way to it
    bool open;
    bool cut = false;
  };
  Side& at(End end) { return ends_[end - 1]; }

  template <class Event>
  void arrive_later(End to, Event event) {
    Side& side = at(to);
    if (side.cut) return;
    side.last_arrival = std::max(side.last_arrival, clock_.now() + delay());
    clock_.at(side.last_arrival, [this, to, event = std::move(event)]() mutable {
      if (!at(to).cut) event();
    });
  }
  void end_of(End end) {
    Side& side = at(end);
    if (!std::exchange(side.open, false)) return;
    side.handler->closed(end);
  }

  EventClock& clock_;
  SimulatedDelays delays_;
  std::vector<Side> ends_;
};

}  // namespace laconic
