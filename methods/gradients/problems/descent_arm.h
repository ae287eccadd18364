// Compressed descent as an arm: what is sent, what is remembered, and what is tuned (cards 03 and 04).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "methods/gradients/compressed_descent.h"
#include "methods/gradients/problems/tuned_arm.h"

namespace laconic {

struct DescentArm {
  std::string name;  // "EControl"
  FeedbackForm form;
  bool compressed = true;
  bool tunes_eta = false;
  bool ideal = false;  // given the workers' gradients at the optimum (EC-Ideal)
  DescentSettings::Start start = DescentSettings::Start::dense;
};

// SGD, C-SGD, EC, EF21, EControl; with `more` EC-Ideal and EF21-SGDM (average 0.1).
std::vector<DescentArm> descent_arms(bool more);

struct DescentBudget {
  std::uint64_t steps = 0;  // at most
  std::uint64_t bytes = 0;  // the run ends before it would send more; 0: no bound
  double tail = 0.1;        // share of the steps at the end whose mean is the value
};

// Runs to the end of the budget from `start`, or until `gap` is over 1e6 times what it was (diverged).
LoopOutcome run_descent(const Oracle& oracle, const Channel& channel, const DescentSettings& settings,
                        std::vector<double> start, const DescentBudget& budget,
                        const std::function<double(std::span<const double>)>& gap,
                        std::uint64_t gap_every = 1);

}  // namespace laconic
