// Peers that are spawned and killed at random, as processes: whether the survivors hang or disagree, and how
// long they take to go on (card 57: every 0.5 to 2 s one is spawned (0.6) or killed (0.4), at most 8 of
// them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

// The words of a program that runs run_churn_member() for the master at this port of 127.0.0.1, and appends
// to `log`.
using ChurnCommand =
    std::function<std::vector<std::string>(std::uint16_t master, const std::filesystem::path& log)>;

struct ChurnPlan {
  double seconds = 60;
  std::size_t most = 8, kill_from = 3;             // peers at most; accepted peers that a kill needs
  double shortest_pause = 0.5, longest_pause = 2;  // seconds between spawns and kills
  double silence = 10;  // seconds without a step after which a process counts as hung
  std::uint64_t seed = 1;
};

struct ChurnReport {
  std::size_t spawned = 0, killed = 0, ended_by_themselves = 0;
  std::size_t steps = 0, lines = 0;    // of the common state; of all processes
  std::size_t disagreements = 0;       // lines whose hash is not that of others after the same step
  std::size_t lineages = 0;            // 1: the state was never lost
  std::size_t most_members = 0;        // of one step
  std::size_t hung = 0;                // processes that were silent for too long while they lived
  double longest_silence = 0;          // of all together, seconds
  std::size_t recoveries = 0;          // survivors of deaths that lived on for 2 s
  double slowest_recovery = 0;         // seconds from a death to a survivor's second step after it
  std::size_t aborted_operations = 0;  // as the master counts them
};

ChurnReport measure_churn(const ChurnPlan& plan, const ChurnCommand& command,
                          const ProgressListener& progress = {});

}  // namespace laconic
