// Small vision transformer (Dosovitskiy et al. 2021): patches of `patch` x `patch` pixels become tokens by a
// linear map, a class token stands in front, positions are learned; `layers` blocks of attention and a
// four times wider GELU perceptron, LayerNorm before each; the class token is read out.
#include <fmt/core.h>

#include <cmath>

#include "engine/base/error.h"
#include "lab/models/image_network.h"

namespace laconic::lab {
namespace {

class VisionTransformer final : public ImageNetwork {
 public:
  VisionTransformer(const PictureShape& shape, std::int64_t patch, std::int64_t width, std::int64_t layers,
                    std::int64_t heads)
      : patch_(patch), width_(width), layers_(layers), heads_(heads) {
    const std::int64_t tokens = (shape.height / patch) * (shape.width / patch) + 1;
    linear("patch", shape.channels * patch * patch, width);
    plan_.normal("class_token", {1, 1, width}, 0.02);
    plan_.normal("positions", {1, tokens, width}, 0.02);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const std::string name = fmt::format("blocks.{}.", layer);
      normalisation(name + "norm1");
      linear(name + "qkv", width, 3 * width);
      linear(name + "proj", width, width);
      normalisation(name + "norm2");
      linear(name + "fc1", width, 4 * width);
      linear(name + "fc2", 4 * width, width);
    }
    normalisation("norm");
    linear("head", width, shape.classes);
  }

  at::Tensor logits(const std::vector<at::Tensor>& t, const at::Tensor& pictures) const override {
    const std::int64_t batch = pictures.size(0), channels = pictures.size(1);
    const std::int64_t rows = pictures.size(2) / patch_, columns = pictures.size(3) / patch_;
    std::size_t at = 0;
    const auto next_linear = [&](const at::Tensor& x) {
      at += 2;
      return at::linear(x, t[at - 2], t[at - 1]);
    };
    const auto next_norm = [&](const at::Tensor& x) {
      at += 2;
      return at::layer_norm(x, {width_}, t[at - 2], t[at - 1]);
    };
    const at::Tensor patches = pictures.reshape({batch, channels, rows, patch_, columns, patch_})
                                   .permute({0, 2, 4, 1, 3, 5})
                                   .reshape({batch, rows * columns, channels * patch_ * patch_});
    at::Tensor x = next_linear(patches);
    x = at::cat({t[at].expand({batch, 1, width_}), x}, 1) + t[at + 1];
    at += 2;
    const std::int64_t tokens = x.size(1), dim = width_ / heads_;
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      const at::Tensor qkv =
          next_linear(next_norm(x)).view({batch, tokens, 3, heads_, dim}).permute({2, 0, 3, 1, 4});
      const at::Tensor scores =
          at::matmul(qkv[0], qkv[1].transpose(2, 3)) * (1 / std::sqrt(static_cast<double>(dim)));
      const at::Tensor mixed =
          at::matmul(at::softmax(scores, 3), qkv[2]).transpose(1, 2).reshape({batch, tokens, width_});
      x = x + next_linear(mixed);
      const at::Tensor wide = at::gelu(next_linear(next_norm(x)));
      x = x + next_linear(wide);
    }
    return next_linear(next_norm(x.select(1, 0)));
  }

 private:
  void linear(const std::string& name, std::int64_t in, std::int64_t out) {
    plan_.normal(name + ".weight", {out, in}, std::sqrt(1.0 / static_cast<double>(in)));
    plan_.zeros(name + ".bias", {out});
  }
  void normalisation(const std::string& name) {
    plan_.ones(name + ".weight", {width_});
    plan_.zeros(name + ".bias", {width_});
  }

  std::int64_t patch_, width_, layers_, heads_;
};

}  // namespace

std::unique_ptr<ImageNetwork> make_vision_transformer(const PictureShape& shape, TaskOptions& options) {
  const std::int64_t patch = options.take_count("patch", 4, 1, 64);
  const std::int64_t width = options.take_count("width", 64, 1, 4096);
  const std::int64_t layers = options.take_count("layers", 4, 1, 48);
  const std::int64_t heads = options.take_count("heads", 4, 1, 64);
  if (shape.height % patch != 0 || shape.width % patch != 0)
    fail(ErrorKind::usage,
         fmt::format("pictures of {} x {} are not made of whole patches of {}", shape.height, shape.width,
                     patch),
         "patch");
  if (width % heads != 0)
    fail(ErrorKind::usage, fmt::format("{} heads do not share {}", heads, width), "heads");
  return std::make_unique<VisionTransformer>(shape, patch, width, layers, heads);
}

}  // namespace laconic::lab
