// Perceptron and small convolutional network.
//
//   mlp   layers x (linear, relu), linear: the library's, from LibTorch
//   cnn   2 x (convolution 3x3, relu, max pooling 2x2), linear, relu, linear; `width` and twice `width`
//         channels, `dense` hidden units (the network of McMahan et al. 2017 with smaller kernels). With
//         normalise=1 what leaves a convolution or the first linear layer is brought to mean 0 and deviation
//         1 before its bias: GroupNorm (Wu, He 2018) of 4 groups without a scale. Steps in these weights
//         shorten themselves, since weights grow across their gradient
#include <fmt/core.h>

#include <cmath>

#include "engine/base/error.h"
#include "lab/models/image_network.h"

namespace laconic::lab {
namespace {

// Keeps the scale of what passes through a rectifier (He et al. 2015).
double rectified_deviation(std::int64_t inputs) { return std::sqrt(2.0 / static_cast<double>(inputs)); }
double linear_deviation(std::int64_t inputs) { return std::sqrt(1.0 / static_cast<double>(inputs)); }

class Perceptron final : public ImageNetwork {
 public:
  Perceptron(const PictureShape& shape, std::int64_t layers, std::int64_t width) {
    std::int64_t in = shape.channels * shape.height * shape.width;
    for (std::int64_t l = 0; l <= layers; ++l) {
      const bool last = l == layers;
      const std::int64_t out = last ? shape.classes : width;
      plan_.normal(fmt::format("layer{}.weight", l), {out, in},
                   last ? linear_deviation(in) : rectified_deviation(in));
      plan_.zeros(fmt::format("layer{}.bias", l), {out});
      in = out;
    }
  }
  at::Tensor logits(const std::vector<at::Tensor>& tensors, const at::Tensor& pictures) const override {
    at::Tensor x = pictures.flatten(1);
    for (std::size_t i = 0; i < tensors.size(); i += 2) {
      x = at::linear(x, tensors[i], tensors[i + 1]);
      if (i + 2 < tensors.size()) x = at::relu(x);
    }
    return x;
  }
};

class Convolutional final : public ImageNetwork {
 public:
  Convolutional(const PictureShape& shape, std::int64_t width, std::int64_t dense, bool normalise)
      : normalise_(normalise), groups_(width % 4 == 0 ? 4 : 1) {
    const std::int64_t flat = 2 * width * (shape.height / 4) * (shape.width / 4);
    plan_.normal("conv1.weight", {width, shape.channels, 3, 3}, rectified_deviation(9 * shape.channels));
    plan_.zeros("conv1.bias", {width});
    plan_.normal("conv2.weight", {2 * width, width, 3, 3}, rectified_deviation(9 * width));
    plan_.zeros("conv2.bias", {2 * width});
    plan_.normal("fc1.weight", {dense, flat}, rectified_deviation(flat));
    plan_.zeros("fc1.bias", {dense});
    plan_.normal("fc2.weight", {shape.classes, dense}, linear_deviation(dense));
    plan_.zeros("fc2.bias", {shape.classes});
  }
  at::Tensor logits(const std::vector<at::Tensor>& t, const at::Tensor& pictures) const override {
    if (!normalise_) {
      at::Tensor x = at::max_pool2d(at::relu(at::conv2d(pictures, t[0], t[1], 1, 1)), 2);
      x = at::max_pool2d(at::relu(at::conv2d(x, t[2], t[3], 1, 1)), 2);
      return at::linear(at::relu(at::linear(x.flatten(1), t[4], t[5])), t[6], t[7]);
    }
    const auto convolved = [&](const at::Tensor& x, std::size_t layer) {
      const at::Tensor y = at::group_norm(at::conv2d(x, t[layer], {}, 1, 1), groups_);
      return at::max_pool2d(at::relu(y + t[layer + 1].view({1, -1, 1, 1})), 2);
    };
    const at::Tensor flat = convolved(convolved(pictures, 0), 2).flatten(1);
    const at::Tensor hidden = at::linear(flat, t[4]);
    return at::linear(at::relu(at::layer_norm(hidden, {hidden.size(1)}) + t[5]), t[6], t[7]);
  }

 private:
  bool normalise_;
  std::int64_t groups_;
};

}  // namespace

std::unique_ptr<ImageNetwork> make_perceptron(const PictureShape& shape, TaskOptions& options) {
  const std::int64_t layers = options.take_count("layers", 1, 1, 16);
  return std::make_unique<Perceptron>(shape, layers, options.take_count("width", 128, 1, 1 << 16));
}

std::unique_ptr<ImageNetwork> make_convolutional(const PictureShape& shape, TaskOptions& options) {
  if (shape.height < 4 || shape.width < 4)
    fail(ErrorKind::usage, "pictures of less than 4 x 4 pixels are pooled to nothing", "cnn");
  const std::int64_t width = options.take_count("width", 32, 1, 4096);
  const std::int64_t dense = options.take_count("dense", 128, 1, 1 << 16);
  // Taken only when it is given: the text of other tasks stays what it was.
  const bool normalise = options.given("normalise") && options.take_count("normalise", 0, 0, 1) == 1;
  return std::make_unique<Convolutional>(shape, width, dense, normalise);
}

}  // namespace laconic::lab
