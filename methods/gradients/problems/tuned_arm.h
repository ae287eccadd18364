// Distributed loops as arms of a reproduction: a loop runs at every setting of a grid, the same grid for all
// arms, and the best end counts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/training/training_trial.h"
#include "methods/reproduce.h"

namespace laconic {

struct LoopSetting {
  double step = 0;  // gamma
  double eta = 0;   // or another parameter of the arm
};

struct LoopOutcome {
  double value = 0;         // how it ended; smaller is better
  std::uint64_t bytes = 0;  // that travelled
  double steps = 0;
  std::vector<std::pair<double, double>> curve;  // value against bytes on the way
};

// The value of a run that left all bounds.
constexpr double diverged_value = 1e30;

// value, bytes, steps, step, eta of the best setting; edge: 1 when its step lies at an end of the grid;
// curve.N.bytes, curve.N.value; tried.N.step, tried.N.eta and tried.N.value of all settings. Settings run on
// all threads; ties go to the first.
ArmNumbers tuned_arm(const std::vector<LoopSetting>& grid,
                     const std::function<LoopOutcome(const LoopSetting&)>& run);
std::vector<LoopSetting> steps_of(const std::vector<double>& steps);

// "0.012 [0.011, 0.013]": mean over seeds, least and most.
std::string range_text(const Spread& range);
// Points of the mean over seeds, as far as all have them.
std::vector<std::pair<double, double>> mean_curve(const std::vector<ArmNumbers>& seeds);

}  // namespace laconic
