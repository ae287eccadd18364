#include "engine/transport/round_model.h"

#include <algorithm>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/event_clock.h"

namespace laconic {
namespace {

class SimulatedRounds {
 public:
  explicit SimulatedRounds(const RoundModel& model)
      : model_(model),
        workers_(static_cast<std::size_t>(model.workers)),
        launched_(static_cast<std::size_t>(model.rounds), 0),
        reduced_(static_cast<std::size_t>(model.rounds), false) {}

  RoundTimes run() {
    for (int w = 0; w < model_.workers; ++w) begin_round(w, 0);
    clock_.run();
    RoundTimes times;
    times.seconds = clock_.now();
    for (const Worker& worker : workers_) {
      times.waited = std::max(times.waited, worker.waited);
      times.compute = std::max(times.compute, worker.computed);
    }
    const std::int64_t with_wait = model_.rounds - model_.delay;
    times.per_round = with_wait > 0 ? times.waited / static_cast<double>(with_wait) : 0;
    times.events = clock_.events_run();
    return times;
  }

 private:
  struct Worker {
    std::int64_t round = 0;
    bool waiting = false;
    double arrived = 0, waited = 0, computed = 0;
  };

  void begin_round(int w, std::int64_t round) {
    double seconds = 0;
    for (std::int64_t k = 0; k < model_.tau; ++k) seconds += model_.step_seconds(w, round * model_.tau + k);
    Worker& worker = workers_[static_cast<std::size_t>(w)];
    worker.round = round;
    worker.computed += seconds;
    clock_.after(seconds, [this, w] { end_round(w); });
  }

  // The last local step is done.
  void end_round(int w) {
    Worker& worker = workers_[static_cast<std::size_t>(w)];
    worker.arrived = clock_.now();
    worker.waiting = true;
    if (model_.delay == 0) launch(worker.round);
    go_on(w);
  }

  // A worker that waits and has what it waits for.
  void go_on(int w) {
    Worker& worker = workers_[static_cast<std::size_t>(w)];
    const std::int64_t wanted = worker.round - model_.delay;
    if (!worker.waiting || (wanted >= 0 && !reduced_[static_cast<std::size_t>(wanted)])) return;
    worker.waiting = false;
    worker.waited += clock_.now() - worker.arrived;
    if (model_.delay > 0) launch(worker.round);
    if (worker.round + 1 < model_.rounds) begin_round(w, worker.round + 1);
  }

  void launch(std::int64_t round) {
    if (++launched_[static_cast<std::size_t>(round)] < model_.workers) return;
    // Reductions leave each worker in order, one at a time.
    const double begin = std::max(clock_.now(), link_free_);
    link_free_ = begin + model_.reduce_seconds(round);
    clock_.at(link_free_, [this, round] {
      reduced_[static_cast<std::size_t>(round)] = true;
      for (int w = 0; w < model_.workers; ++w) go_on(w);
    });
  }

  const RoundModel& model_;
  EventClock clock_;
  std::vector<Worker> workers_;
  std::vector<int> launched_;
  std::vector<bool> reduced_;
  double link_free_ = 0;
};

}  // namespace

RoundTimes simulate_rounds(const RoundModel& model) {
  const auto refuse = [](const char* what) { fail(ErrorKind::usage, what, "rounds"); };
  if (model.workers < 1) refuse("there is a worker");
  if (model.rounds < 1 || model.tau < 1) refuse("there is a round of a step or more");
  if (model.delay != 0 && model.delay != 1) refuse("a mean is used at once or one round later");
  require(model.step_seconds && model.reduce_seconds, "steps and reductions take their time");
  return SimulatedRounds(model).run();
}

RoundTimes simulate_rounds(int workers, std::int64_t rounds, std::int64_t tau, int delay, double step,
                           const Link& link, double bytes) {
  RoundModel model;
  model.workers = workers;
  model.rounds = rounds;
  model.tau = tau;
  model.delay = delay;
  model.step_seconds = [step](int, std::int64_t) { return step; };
  const double reduce = ring_all_reduce_seconds(link, workers, bytes);
  model.reduce_seconds = [reduce](std::int64_t) { return reduce; };
  return simulate_rounds(model);
}

}  // namespace laconic
