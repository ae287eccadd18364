#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "methods/gradients/tasks/task_data.h"
#include "methods/gradients/tasks/task_models.h"
#include "methods/lab_plugin.h"

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

// Of the plug-in (lab/models/): named here, so that a wrong name is known without it.
constexpr std::array<std::string_view, 4> lab_models{"cnn", "resnet", "vit", "lm"};

// "resnet20" is "resnet" with depth=20.
TaskRequest with_depth(TaskRequest request) {
  constexpr std::string_view family = "resnet";
  const std::string digits = request.model.substr(std::min(request.model.size(), family.size()));
  const bool has_depth =
      request.model.rfind(family, 0) == 0 && !digits.empty() && digits.size() <= 3 &&
      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (has_depth) {
    request.model = family;
    request.options["depth"] = std::stod(digits);
  }
  return request;
}

}  // namespace

std::string task_text(const TaskData& data, std::string_view model, const TaskOptions& options) {
  const std::string numbers = options.text();
  return fmt::format("{} on {} (data {}){}{}", model, data.name, data.hash, numbers.empty() ? "" : " ",
                     numbers);
}

std::vector<std::string> known_training_models() {
  std::vector<std::string> names;
  for (const LibraryModel& known : library_models) names.emplace_back(known.name);
  names.insert(names.end(), lab_models.begin(), lab_models.end());
  return names;
}

std::unique_ptr<TrainingTask> make_training_task(const TaskRequest& asked) {
  const TaskRequest request = with_depth(asked);
  const auto of_lab = [](std::string_view model) {
    return std::find(lab_models.begin(), lab_models.end(), model) != lab_models.end();
  };
  if (of_lab(request.model)) return load_lab().training_task(request);  // it reads the data itself
  TaskOptions options(request);
  const TaskData data = load_task_data(request, options);
  const std::string& model = request.model.empty() ? data.usual_model : request.model;
  for (const LibraryModel& known : library_models) {
    if (known.name == model) return known.make(data, model, options);
  }
  if (of_lab(model)) return load_lab().training_task(request);
  std::string names;
  for (const LibraryModel& known : library_models) names += fmt::format("{}, ", known.name);
  fail(ErrorKind::usage, "there is no such model", model,
       fmt::format("there are {}and with the training plug-in {}", names, fmt::join(lab_models, ", ")));
}

}  // namespace laconic
