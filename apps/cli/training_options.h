// Options of distributed training and what they become.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/verb.h"
#include "methods/gradients/training/trainer.h"

namespace laconic::cli {

std::vector<OptionSpec> training_options();

// --data, else $LACONIC_DATA, else nothing.
std::filesystem::path data_folder(const Arguments& arguments);
// TASK, --model, --data, --option.
TaskRequest task_request(const Arguments& arguments);
// -p name=value, as often as it is given.
std::vector<std::pair<std::string, std::string>> method_parameters(const Arguments& arguments);
// Everything but the exchange and the workers' examples.
TrainingSettings training_settings(const Arguments& arguments);

}  // namespace laconic::cli
