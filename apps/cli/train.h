// The two forms of laconic train.
#pragma once

#include <vector>

#include "apps/cli/verb.h"

namespace laconic::cli {

// laconic train TASK: workers that exchange compressed gradients, or clients that exchange models.
int train_task(const Arguments& arguments, const Session& session);
std::vector<OptionSpec> task_options();

// laconic train -o DIR: a small language model from text.
int train_language_model(const Arguments& arguments, const Session& session);
std::vector<OptionSpec> language_model_options();

}  // namespace laconic::cli
