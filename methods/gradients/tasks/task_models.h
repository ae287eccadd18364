// The models that the library trains by itself. Each takes its options and refuses those that are left.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "methods/gradients/tasks/task_data.h"
#include "methods/gradients/tasks/task_options.h"

namespace laconic {

// "logistic" (l2), "logistic-nonconvex" (x^2/(1+x^2)), "least-squares" over sparse rows. Options:
// regulariser.
std::unique_ptr<TrainingTask> make_linear_task(const TaskData& data, std::string_view model,
                                               TaskOptions& options);
// "softmax" (no hidden layer) and "mlp" over pictures or sparse rows. Options: width, layers, regulariser,
// and those of an attack on its inputs (input_attack.h).
std::unique_ptr<TrainingTask> make_perceptron_task(const TaskData& data, std::string_view model,
                                                   TaskOptions& options);
// "factorisation" of ratings. Options: width, regulariser.
std::unique_ptr<TrainingTask> make_factorisation_task(const TaskData& data, std::string_view model,
                                                      TaskOptions& options);

// Of the library and, behind them, of the plug-in.
std::vector<std::string> known_training_models();

// What a task's text() says: model, data with their hash, options.
std::string task_text(const TaskData& data, std::string_view model, const TaskOptions& options);

}  // namespace laconic
