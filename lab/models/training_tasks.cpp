#include "lab/models/training_tasks.h"

#include "engine/base/error.h"
#include "lab/models/image_task.h"
#include "lab/models/language_task.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic::lab {
namespace {

std::unique_ptr<ImageNetwork> image_network(std::string_view model, const PictureShape& shape,
                                            TaskOptions& options) {
  if (model == "mlp") return make_perceptron(shape, options);
  if (model == "cnn") return make_convolutional(shape, options);
  if (model == "resnet") return make_residual(shape, options);
  if (model == "vit") return make_vision_transformer(shape, options);
  fail(ErrorKind::usage, "the lab has no such model", model, "there are mlp, cnn, resnet, vit and lm");
}

}  // namespace

std::unique_ptr<TrainingTask> training_task(const TaskRequest& request) {
  TaskOptions options(request);
  const TaskData data = load_task_data(request, options);
  const std::string& model = request.model.empty() ? data.usual_model : request.model;
  if (model == "lm") return make_language_task(data, options);
  const auto& images = data.as<ImageData>(model);
  const PictureShape shape{images.train.channels, images.train.height, images.train.width,
                           images.train.classes};
  auto network = image_network(model, shape, options);
  const AttackSettings attack = take_attack(options);
  options.finish();
  return make_image_task(images, std::move(network), task_text(data, model, options), attack);
}

}  // namespace laconic::lab
