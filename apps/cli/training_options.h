// Options of distributed training and what they become.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cli/verb.h"
#include "methods/gradients/training/trainer.h"

namespace laconic::cli {

std::vector<OptionSpec> training_options();

// TASK, --model, --data, --option.
TaskRequest task_request(const Arguments& arguments);
// The option's text, one of `known`; `otherwise` where it was not given.
std::string one_of(const Arguments& arguments, std::string_view name, std::string_view otherwise,
                   const std::vector<std::string>& known);
// -p name=value, as often as it is given.
std::vector<std::pair<std::string, std::string>> method_parameters(const Arguments& arguments);
// --checkpoint or --resume, and --checkpoint-every.
struct CheckpointOptions {
  std::filesystem::path directory;
  std::int64_t every = 0;
  bool resume = false;
};
CheckpointOptions checkpoint_options(const Arguments& arguments);
// Everything but the exchange and the workers' examples.
TrainingSettings training_settings(const Arguments& arguments);

}  // namespace laconic::cli
