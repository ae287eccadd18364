// The clock of simulations: what is to happen, in the order of its time. Events of the same time run in the
// order they were planned, so a run is decided by its events alone and repeats exactly.
//
// The discrete-event models (networks, collectives, training schedules) share it.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace laconic {

class EventClock {
 public:
  using Event = std::function<void()>;

  double now() const { return now_; }  // seconds from the beginning
  // Not before now. Events may plan others.
  void at(double time, Event event);
  void after(double seconds, Event event) { at(now_ + seconds, std::move(event)); }

  bool empty() const { return queue_.empty(); }
  std::uint64_t events_run() const { return run_; }
  // Runs the next event; false when there is none.
  bool step();
  // Until nothing is planned any more.
  void run();
  // Every event up to `time`, which then is now.
  void run_until(double time);

 private:
  struct Planned {
    double time;
    std::uint64_t order;
    Event event;
  };
  static bool later(const Planned& a, const Planned& b);

  std::vector<Planned> queue_;  // heap, the next one first
  double now_ = 0;
  std::uint64_t planned_ = 0, run_ = 0;
};

}  // namespace laconic
