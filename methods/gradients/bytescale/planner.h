// Plans for a batch of mixed lengths (Ge et al. 2025, arXiv 2502.21231).
//
//   static_context     the baseline: a fixed mesh of data and context parallelism. Groups of d_cp ranks, the
//                      least power of two that holds the longest sequence; packs of d_cp C tokens, best fit
//                      decreasing, to the groups in turn; every token's keys and values pass by all of a
//                      group
//   naive              Algorithm 1: a sequence of C tokens or more gets the D ranks that it needs (place),
//   the
//                      shorter ones are packed into bins of C tokens for one rank each; items go to ranks in
//                      turn, in the order of the batch
//   balanced_data      Algorithm 2, DP-balance: items from long to short, each to its D least-loaded ranks
//   balanced_pipeline  Algorithm 2, PP-balance: one item from each bucket in turn, a bucket holding similar
//                      lengths of about equal cost in all; of the ranks that lag, those that had the same
//                      bucket before come first, so that a pipeline seldom changes its length
//
// How many ranks a long sequence gets lies between the fewest that offloading allows (Eq. 3) and ceil(s / C).
// The fewest cost the least rank-seconds, and may take longer than all else together: a sequence of 2M tokens
// on 16 ranks computes for minutes while 1,000 others wait. So Offload::within_horizon, the default, takes
// the fewest ranks with which a sequence ends within the mean time of a rank, which itself follows from these
// choices (the least horizon H with busy(H) / R <= H, by bisection; where items go to
// ranks in turn, the mean time of a slot). Offload::fewest_ranks is Eq. 3 alone.
//
// Departures from the card's Algorithm 2: the clocks grow by the seconds of a rank's share with its ring
// (work_seconds), which is cost / D where links cost nothing; lagging ranks are always the least-loaded of
// all, so DP-balance needs no buckets: taking the longest first from the least-loaded is the same. In
// PP-balance delta bounds how much later than on the least-loaded ranks an item may begin for the sake of its
// length.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "methods/gradients/bytescale/plan.h"

namespace laconic::bytescale {

enum class Schedule { static_context, naive, balanced_data, balanced_pipeline };
constexpr Schedule schedules[] = {Schedule::static_context, Schedule::naive, Schedule::balanced_data,
                                  Schedule::balanced_pipeline};
std::string_view name_of(Schedule schedule);
Schedule schedule_named(std::string_view name);  // Error(usage) with the names there are

enum class Offload { none, fewest_ranks, within_horizon };

struct PlannerOptions {
  std::uint32_t ranks = 1;
  std::uint32_t capacity = 8192;  // C
  Schedule schedule = Schedule::balanced_data;
  Offload offload = Offload::within_horizon;
  // static_context: the longest sequence that may ever come, which decides d_cp; 0: that of the batch.
  std::uint32_t longest = 0;
  double delta = 0.02;  // balanced_pipeline: of the mean time of a rank
  // Numbers of the ranks that are there, ascending; empty: all. Others get nothing.
  std::vector<std::uint16_t> present;
};

// Equal input, equal plan. Refuses (Error(usage)) an empty batch, a sequence of length 0 and one that all
// ranks together do not hold, naming it; C < 1; no rank; coefficients (validate).
Plan make_plan(std::span<const std::uint32_t> lengths, const StepCosts& costs, const PlannerOptions& options);

// d_cp of the baseline. Error(usage) when there are fewer ranks.
std::uint32_t static_context_ranks(std::uint32_t longest, std::uint32_t capacity, std::uint32_t ranks);

}  // namespace laconic::bytescale
