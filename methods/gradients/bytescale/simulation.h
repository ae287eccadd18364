// One training step of a plan, by a clock: every rank takes its slots in order, a group begins when the last
// of its ranks has come, and what it does takes work_seconds. Links are not shared between groups: ranks send
// to the next of their own ring alone. `stages` > 1: every rank is a pipeline of so many processors, each
// with its share of the layers; a micro-batch passes them one after another (a flow shop), so that batches of
// different lengths leave bubbles.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "methods/gradients/bytescale/plan.h"

namespace laconic::bytescale {

struct SimulatedStep {
  double seconds = 0;          // until the last rank is done, the exchange of gradients included
  double least = 0, most = 0;  // when the first and the last rank have done their slots
  double mean = 0;             // of all ranks
  double busy = 0;             // rank-seconds of work, and
  double computing = 0;        // those of them that links of no cost would leave
  // max(busy / R, the longest item): no schedule of these items ends before it.
  double bound = 0;
  double sent_bytes = 0;  // of keys, values and their gradients, by all ranks
  std::uint64_t plan_bytes = 0;
  std::uint64_t tokens = 0;
  std::uint64_t events = 0;
  double balance() const { return most / least; }
  double communication() const { return 1 - computing / busy; }  // share that computing does not hide
};

SimulatedStep simulate_step(const Plan& plan, std::span<const std::uint32_t> lengths, const StepCosts& costs,
                            int stages = 1);

// Whether the exchanges of a plan end when a message is handed over only where both sides are ready, the
// hardest case: each rank runs its works in its own order, D rounds in each, and a round ends when it and
// both neighbours in the ring have come to it. Returns the rounds that ranks ran; Error(internal) naming a
// rank that waits for ever and for whom. `order`: of each rank, its works; that of slots always ends.
std::uint64_t run_exchanges(std::span<const GroupWork> works,
                            const std::vector<std::vector<std::size_t>>& order);
// Works of each rank in the order of slots.
std::vector<std::vector<std::size_t>> works_of_ranks(std::span<const GroupWork> works, std::uint32_t ranks);

}  // namespace laconic::bytescale
