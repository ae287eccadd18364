// Rounds of local steps on a clock of events: W workers compute tau steps, hand a reduction to their links
// and go on; what a worker waits for is exposed. The reduction of a round begins once all workers have
// launched it and the one before has ended, and takes as long as the link says.
//
//   delay 1 (CO2)         at the end of round t a worker waits for the reduction of round t - 1, then
//   launches
//                         its own: with T_reduce = k tau T_step it waits (k - 1) tau T_step a round, 0 for
//                         k <= 1
//   delay 0 (Local-SGD)   it launches its own and waits for that: T_reduce a round, whatever tau is
#pragma once

#include <cstdint>
#include <functional>

#include "engine/transport/cost_model.h"

namespace laconic {

struct RoundModel {
  int workers = 4;
  std::int64_t rounds = 100, tau = 12;
  int delay = 1;
  // Seconds of a worker's step (steps count from 0 over the whole run), and of the reduction of a round.
  std::function<double(int worker, std::int64_t step)> step_seconds;
  std::function<double(std::int64_t round)> reduce_seconds;
};

struct RoundTimes {
  double seconds = 0;    // until the last worker has ended, the last reduction drained
  double compute = 0;    // of all steps, of the slowest worker
  double waited = 0;     // of the worker that waited most; the last reduction's drain is not in it
  double per_round = 0;  // the same, of a round that had a reduction to wait for
  std::uint64_t events = 0;
};

// Throws Error(usage) on a model that makes no sense.
RoundTimes simulate_rounds(const RoundModel& model);

// Every step takes `step`, every reduction a ring all-reduce of `bytes` over `link`.
RoundTimes simulate_rounds(int workers, std::int64_t rounds, std::int64_t tau, int delay, double step,
                           const Link& link, double bytes);

}  // namespace laconic
