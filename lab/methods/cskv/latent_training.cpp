#include "lab/methods/cskv/latent_training.h"

#include <c10/core/GradMode.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/random.h"
#include "engine/tensor/tensor.h"
#include "lab/training/adamw.h"
#include "lab/training/workers.h"

namespace laconic::lab {
namespace {

at::Tensor matrix_of(std::span<const float> values, std::int64_t rows, std::int64_t columns) {
  at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

std::vector<float> numbers_of(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

// x on grids along its last dimension, one grid for each of the others. Codes are rounded straight through;
// the grid itself is a function of x, so gradients reach its ends: latents that shrink make finer steps. With
// the grid held constant training sees no way to lower the rounding errors themselves.
at::Tensor on_grids(const at::Tensor& x, int bits, bool contains_zero) {
  const double levels = static_cast<double>((1 << bits) - 1);
  at::Tensor low = x.amin(-1, true), high = x.amax(-1, true);
  if (contains_zero) {
    low = low.clamp_max(0);
    high = high.clamp_min(0);
  }
  const at::Tensor step = (high - low) / levels;
  // A group of equal values has the step 0; its codes do not matter.
  const at::Tensor safe = at::where(step > 0, step, at::ones_like(step));
  const at::Tensor place = (contains_zero ? x : x - low) / safe;
  at::Tensor code;
  {
    const c10::NoGradGuard no_gradient;
    const at::Tensor zero = contains_zero ? at::round(-low / safe) : at::zeros_like(low);
    code = (at::round(place) + zero).clamp(0, levels) - zero - place;
  }
  const at::Tensor snapped = (place + code) * step;
  return contains_zero ? snapped : snapped + low;
}

class FactorTraining {
 public:
  explicit FactorTraining(const LatentTrainingRequest& request) : request_(request) {
    const auto elements = [](std::int64_t rows, std::int64_t columns) {
      return static_cast<std::size_t>(rows * columns);
    };
    const bool shaped = request.rank >= 1 && request.inputs >= 1 && request.outputs >= 1 &&
                        request.weight.size() == elements(request.outputs, request.inputs) &&
                        request.down.size() == elements(request.rank, request.inputs) &&
                        request.up.size() == elements(request.outputs, request.rank);
    if (!shaped) fail(ErrorKind::usage, "weight and factors do not fit each other", "latent training");
    if (request.batches < 1)
      fail(ErrorKind::usage, "no inputs to train on", "latent training", "give a longer text");
    if (request.bits < 2 || request.bits > 16 || request.group < 1)
      fail(ErrorKind::usage, "grids have 2 to 16 bits and groups of 1 or more", "latent training");
    require_finite(request.weight, "weight");
    weight_ = matrix_of(request.weight, request.outputs, request.inputs);
    down_ = matrix_of(request.down, request.rank, request.inputs);
    up_ = matrix_of(request.up, request.outputs, request.rank);
  }

  LatentTrainingResult run() {
    LatentTrainingResult result;
    result.down = request_.down;
    result.up = request_.up;
    result.error_before = error();
    train();
    result.error_after = error();
    // A rate that is too high must not make the factors worse than they were.
    if (!std::isfinite(result.error_after) || result.error_after > result.error_before) {
      result.error_after = result.error_before;
      return result;
    }
    result.down = numbers_of(down_);
    result.up = numbers_of(up_);
    return result;
  }

 private:
  at::Tensor inputs_of(std::int64_t index) const {
    const std::span<const float> x = request_.batch(index);
    const std::int64_t tokens = static_cast<std::int64_t>(x.size()) / request_.inputs;
    if (tokens < 1 || tokens * request_.inputs != static_cast<std::int64_t>(x.size()))
      fail(ErrorKind::usage, "a batch is [tokens, inputs]", "latent training");
    require_finite(x, "inputs");
    return matrix_of(x, tokens, request_.inputs);
  }

  at::Tensor quantised(const at::Tensor& latents) const {
    if (request_.bits >= 16) return latents;
    // Groups along the last dimension; what is left over is a group of its own.
    const at::Tensor lines = request_.by_channel ? latents.t() : latents;
    const std::int64_t length = lines.size(1), whole = length / request_.group * request_.group;
    std::vector<at::Tensor> parts;
    if (whole > 0) {
      const at::Tensor grouped = lines.narrow(1, 0, whole).reshape({lines.size(0), -1, request_.group});
      parts.push_back(
          on_grids(grouped, request_.bits, request_.contains_zero).reshape({lines.size(0), whole}));
    }
    if (whole < length)
      parts.push_back(
          on_grids(lines.narrow(1, whole, length - whole), request_.bits, request_.contains_zero));
    const at::Tensor all = at::cat(parts, 1);
    return request_.by_channel ? all.t() : all;
  }

  at::Tensor loss(const at::Tensor& x) const {
    const at::Tensor latents = quantised(at::linear(x, down_));
    return at::mse_loss(at::linear(latents, up_), at::linear(x, weight_));
  }

  double error() const {
    const c10::NoGradGuard no_gradient;
    double sum = 0, tokens = 0;
    for (std::int64_t i = 0; i < request_.batches; ++i) {
      const at::Tensor x = inputs_of(i);
      const auto rows = static_cast<double>(x.size(0));
      sum += loss(x).item<double>() * rows;
      tokens += rows;
    }
    return sum / tokens;
  }

  void train() {
    AdamW adam({{{"down", &down_}, {"up", &up_}}}, {request_.beta1, request_.beta2, 1e-8, 0, true});
    std::vector<std::int64_t> order(static_cast<std::size_t>(request_.batches));
    for (std::int64_t step = 0; step < request_.steps; ++step) {
      throw_if_interrupted();
      const std::int64_t place = step % request_.batches;
      if (place == 0) {
        std::iota(order.begin(), order.end(), 0);
        RandomStream random(request_.seed, "latent training", request_.name,
                            static_cast<std::uint64_t>(step / request_.batches));
        for (std::size_t i = order.size(); i > 1; --i)
          std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
      }
      loss(inputs_of(order[static_cast<std::size_t>(place)])).backward();
      const double left = 1 - static_cast<double>(step) / static_cast<double>(request_.steps);
      adam.step(request_.learning_rate * left, 0);
    }
    down_ = down_.detach();
    up_ = up_.detach();
  }

  const LatentTrainingRequest& request_;
  at::Tensor weight_, down_, up_;
};

}  // namespace

LatentTrainingResult latent_training(const LatentTrainingRequest& request) {
  prepare_libtorch();
  LatentTrainingResult result;
  run_together(1, [&](int) { result = FactorTraining(request).run(); });
  return result;
}

}  // namespace laconic::lab
