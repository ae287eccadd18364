// One random schedule of the control plane: simulated peers that run a training-like program (join, accept
// newcomers, synchronise, optimize, collectives on several tags with retry) against the real state machines
// of master, standbys and peers, while things die, stall, part and misbehave. Everything follows from the
// seed.
#pragma once

#include <cstdint>
#include <string>

namespace laconic::control {

// Breaks the protocol from outside the machines, to show that the check would find it.
enum class Mutation {
  none,
  deaf_master,      // does not hear that peers are gone
  second_abort,     // one notice of the end of a collective is sent twice
  lost_complete,    // one COMPLETE is not sent
  split_outcome,    // one peer alone hears that a collective was aborted
  wrong_election,   // one peer is told of other dirty keys than it has
  forgetful_peers,  // what they tell a new master lacks the outcomes they know
};

struct ScheduleResult {
  std::string violation;  // empty: none
  std::uint64_t events = 0;
  // What happened, so that a suite can see that it tests what it means to.
  std::uint64_t finished = 0, stopped = 0, killed = 0, succeeded = 0, aborted = 0, rounds_failed = 0,
                syncs = 0, syncs_failed = 0, fetches = 0, reassigned = 0, takeovers = 0, no_majority = 0,
                stalled_kicks = 0, illegal_kicks = 0, unreachable_kicks = 0, optimized = 0,
                resolved_by_takeover = 0, notices = 0, stood_down = 0, superseded = 0, old_words = 0;
};

void add(ScheduleResult& total, const ScheduleResult& result);
std::string summary(const ScheduleResult& total);

ScheduleResult run_schedule(std::uint64_t seed, Mutation mutation = Mutation::none, bool verbose = false);

}  // namespace laconic::control
