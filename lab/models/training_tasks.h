// Networks as training tasks of the library: the lab's side of make_training_task.
#pragma once

#include <memory>

#include "methods/gradients/training/training_task.h"

namespace laconic::lab {

// request.model: "mlp", "cnn", "resnet", "vit" over pictures, "lm" over text. Throws Error(usage) on others.
std::unique_ptr<TrainingTask> training_task(const TaskRequest& request);

}  // namespace laconic::lab
