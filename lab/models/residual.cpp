// Residual network for small pictures (He, Zhang, Ren, Sun 2016, section 4.2): a convolution, three stages of
// n blocks with `width`, 2 `width` and 4 `width` channels, mean pooling, linear; depth = 6 n + 2. The first
// block of the second and third stage halves the sides; its shortcut takes every second pixel and pads
// channels with zeros (option A, no parameters).
//
// GroupNorm (Wu, He 2018) stands for BatchNorm: no running statistics that workers would have to share, and
// a gradient that depends on its own examples only.
#include <fmt/core.h>

#include <cmath>

#include "engine/base/error.h"
#include "lab/models/image_network.h"

namespace laconic::lab {
namespace {

class Residual final : public ImageNetwork {
 public:
  Residual(const PictureShape& shape, std::int64_t depth, std::int64_t width)
      : groups_(width % 8 == 0   ? 8
                : width % 4 == 0 ? 4
                                 : 1) {
    const std::int64_t blocks = (depth - 2) / 6;
    convolution("conv1", shape.channels, width);
    normalisation("norm1", width);
    std::int64_t in = width;
    for (std::int64_t stage = 0; stage < 3; ++stage) {
      const std::int64_t out = width << stage;
      for (std::int64_t block = 0; block < blocks; ++block) {
        const std::string name = fmt::format("layer{}.{}.", stage + 1, block);
        convolution(name + "conv1", in, out);
        normalisation(name + "norm1", out);
        convolution(name + "conv2", out, out);
        normalisation(name + "norm2", out);
        strides_.push_back(block == 0 && stage > 0 ? 2 : 1);
        in = out;
      }
    }
    plan_.normal("fc.weight", {shape.classes, in}, std::sqrt(1.0 / static_cast<double>(in)));
    plan_.zeros("fc.bias", {shape.classes});
  }

  at::Tensor logits(const std::vector<at::Tensor>& t, const at::Tensor& pictures) const override {
    std::size_t at = 0;
    const auto step = [&](const at::Tensor& x, std::int64_t stride) {
      const at::Tensor y = at::conv2d(x, t[at], {}, stride, 1);
      const at::Tensor normal = at::group_norm(y, groups_, t[at + 1], t[at + 2]);
      at += 3;
      return normal;
    };
    at::Tensor x = at::relu(step(pictures, 1));
    for (const std::int64_t stride : strides_) {
      const at::Tensor inner = at::relu(step(x, stride));
      const at::Tensor outer = step(inner, 1);
      at::Tensor shortcut = x;
      if (stride == 2) {
        shortcut = x.slice(2, 0, x.size(2), 2).slice(3, 0, x.size(3), 2);
        shortcut = at::constant_pad_nd(shortcut, {0, 0, 0, 0, 0, outer.size(1) - x.size(1)});
      }
      x = at::relu(outer + shortcut);
    }
    return at::linear(x.mean(at::IntArrayRef{2, 3}), t[at], t[at + 1]);
  }

 private:
  void convolution(const std::string& name, std::int64_t in, std::int64_t out) {
    plan_.normal(name + ".weight", {out, in, 3, 3}, std::sqrt(2.0 / static_cast<double>(9 * in)));
  }
  void normalisation(const std::string& name, std::int64_t width) {
    plan_.ones(name + ".weight", {width});
    plan_.zeros(name + ".bias", {width});
  }

  std::int64_t groups_;
  std::vector<std::int64_t> strides_;  // of each block's first convolution
};

}  // namespace

std::unique_ptr<ImageNetwork> make_residual(const PictureShape& shape, TaskOptions& options) {
  const std::int64_t depth = options.take_count("depth", 8, 8, 110);
  if (depth % 6 != 2) fail(ErrorKind::usage, "depth is 6 n + 2: 8, 14, 20, 32, 56", "depth");
  return std::make_unique<Residual>(shape, depth, options.take_count("width", 16, 1, 1024));
}

}  // namespace laconic::lab
