#include <fmt/core.h>

#include <array>
#include <functional>

#include "engine/base/error.h"
#include "methods/gradients/tasks/task_data.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic {
namespace {

struct LibraryModel {
  std::string_view name;
  std::unique_ptr<TrainingTask> (*make)(const TaskData&, std::string_view, TaskOptions&);
};
constexpr std::array<LibraryModel, 6> library_models{{{"logistic", make_linear_task},
                                                      {"logistic-nonconvex", make_linear_task},
                                                      {"least-squares", make_linear_task},
                                                      {"softmax", make_perceptron_task},
                                                      {"mlp", make_perceptron_task},
                                                      {"factorisation", make_factorisation_task}}};

}  // namespace

std::string task_text(const TaskData& data, std::string_view model, const TaskOptions& options) {
  const std::string numbers = options.text();
  return fmt::format("{} on {} (data {}){}{}", model, data.name, data.hash, numbers.empty() ? "" : " ",
                     numbers);
}

std::unique_ptr<TrainingTask> make_training_task(const TaskRequest& request) {
  TaskOptions options(request);
  const TaskData data = load_task_data(request, options);
  const std::string& model = request.model.empty() ? data.usual_model : request.model;
  for (const LibraryModel& known : library_models) {
    if (known.name == model) return known.make(data, model, options);
  }
  std::string names;
  for (const LibraryModel& known : library_models)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  fail(ErrorKind::usage, "there is no such model", model, "there are " + names);
}

}  // namespace laconic
