// The HTML report of a training run: loss against bytes and against time, and where a step's time went.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "methods/gradients/training/trainer.h"

namespace laconic::cli {

// "91.20 %", or "91.20 % under attack, 97.10 % without". Of a classifier.
std::string accuracy_text(const Evaluation& held_out);

// `settings`: what the run was, by name.
std::string training_html(const std::vector<std::pair<std::string, std::string>>& settings,
                          const std::string& unit, const std::vector<StepRecord>& steps,
                          const TrainingResult& result);

}  // namespace laconic::cli
