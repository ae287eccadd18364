// Classifiers of pictures as functions of their tensors.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string_view>
#include <vector>

#include "lab/models/flat_parameters.h"
#include "methods/gradients/tasks/task_options.h"

namespace laconic::lab {

struct PictureShape {
  std::int64_t channels = 1, height = 0, width = 0, classes = 0;
};

class ImageNetwork {
 public:
  virtual ~ImageNetwork() = default;
  const ParameterPlan& plan() const { return plan_; }
  // pictures [batch, channels, height, width] -> [batch, classes]
  virtual at::Tensor logits(const std::vector<at::Tensor>& tensors, const at::Tensor& pictures) const = 0;

 protected:
  ParameterPlan plan_;
};

// Each takes its options. Throws Error(usage) on sizes that do not fit the pictures.
std::unique_ptr<ImageNetwork> make_perceptron(const PictureShape& shape, TaskOptions& options);     // "mlp"
std::unique_ptr<ImageNetwork> make_convolutional(const PictureShape& shape, TaskOptions& options);  // "cnn"
std::unique_ptr<ImageNetwork> make_residual(const PictureShape& shape, TaskOptions& options);  // "resnet"
std::unique_ptr<ImageNetwork> make_vision_transformer(const PictureShape& shape,
                                                      TaskOptions& options);  // "vit"

}  // namespace laconic::lab
