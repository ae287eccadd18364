#pragma once

#include <memory>
#include <string>

#include "lab/models/image_network.h"
#include "methods/gradients/tasks/input_attack.h"
#include "methods/gradients/tasks/task_data.h"

namespace laconic::lab {

// A classifier of pictures, trained by cross-entropy; pictures are brought to mean 0 and deviation 1 per
// channel of the training part. With an attack losses, gradients and accuracies are those at attacked
// pictures.
std::unique_ptr<TrainingTask> make_image_task(const ImageData& data, std::unique_ptr<ImageNetwork> network,
                                              std::string text, const AttackSettings& attack);

}  // namespace laconic::lab
