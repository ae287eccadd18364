#include "lab/methods/decoupleq/block_reconstruction.h"

#include <c10/core/GradMode.h>
#include <torch/autograd.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/tensor/tensor.h"
#include "lab/language_model.h"
#include "lab/training/adamw.h"
#include "lab/training/workers.h"

namespace laconic::lab {
namespace {

at::Tensor copied(std::span<const float> values, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

// One linear layer of the block as trainable tensors.
struct TrainableGrid {
  at::Tensor codes;         // [rows, groups, group], short last group padded with zeros
  at::Tensor step, offset;  // [rows, groups, 1]
  std::int64_t rows = 0, columns = 0;

  at::Tensor weight() const { return (codes * step + offset).view({rows, -1}).narrow(1, 0, columns); }
};

TrainableGrid trainable(const BlockLinearGrid& grid, const LinearShape& shape) {
  if (grid.rows != shape.out || grid.columns != shape.in || grid.group < 1) {
    fail(ErrorKind::usage, "the codes have another shape than the layer", "block reconstruction");
  }
  const std::int64_t groups = (grid.columns + grid.group - 1) / grid.group;
  if (static_cast<std::int64_t>(grid.codes.size()) != grid.rows * grid.columns ||
      static_cast<std::int64_t>(grid.step.size()) != grid.rows * groups ||
      grid.offset.size() != grid.step.size()) {
    fail(ErrorKind::usage, "codes, steps or offsets have the wrong number of elements",
         "block reconstruction");
  }
  require_finite(grid.step, "step");
  require_finite(grid.offset, "offset");
  TrainableGrid result;
  result.rows = grid.rows;
  result.columns = grid.columns;
  at::Tensor codes = at::zeros({grid.rows, groups * grid.group}, at::kFloat);
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      codes.data_ptr<float>()[row * groups * grid.group + column] =
          grid.codes[static_cast<std::size_t>(row * grid.columns + column)];
    }
  }
  result.codes = codes.view({grid.rows, groups, grid.group});
  result.step = copied(grid.step, {grid.rows, groups, 1});
  result.offset = copied(grid.offset, {grid.rows, groups, 1});
  return result;
}

class Reconstruction {
 public:
  explicit Reconstruction(const BlockReconstructionRequest& request)
      : request_(request), model_(LanguageModel::load(request.model)) {
    const ModelConfig& config = model_.config();
    if (request.layer < 0 || request.layer >= config.layers)
      fail(ErrorKind::usage, "no such layer", "block reconstruction");
    if (request.inputs.empty() || request.inputs.size() != request.targets.size()) {
      fail(ErrorKind::usage, "as many targets as inputs, and at least one", "block reconstruction");
    }
    block_ = model_.blocks()[static_cast<std::size_t>(request.layer)];
    if (!request.input_norm.empty()) block_.input_norm = norm(request.input_norm);
    if (!request.post_attention_norm.empty()) block_.post_attention_norm = norm(request.post_attention_norm);
    for (const BlockLinearGrid& grid : request.grids)
      grids_.push_back(trainable(grid, linear_shape(config, grid.slot)));
    for (std::size_t i = 0; i < request.inputs.size(); ++i) {
      inputs_.push_back(sequence(request.inputs[i]));
      targets_.push_back(sequence(request.targets[i]));
      if (inputs_.back().sizes() != targets_.back().sizes()) {
        fail(ErrorKind::usage, "an input and its target have different lengths", "block reconstruction");
      }
    }
  }

  BlockReconstructionResult run() {
    BlockReconstructionResult result;
    result.grids = request_.grids;
    result.error_before = error();
    train();
    result.error_after = error();
    // A step size that is too large must not make the block worse than it was.
    const bool better = std::isfinite(result.error_after) && result.error_after <= result.error_before;
    if (!better) result.error_after = result.error_before;
    for (std::size_t i = 0; better && i < grids_.size(); ++i) {
      result.grids[i].step = values_of(grids_[i].step);
      result.grids[i].offset = values_of(grids_[i].offset);
    }
    const Block& dense = model_.blocks()[static_cast<std::size_t>(request_.layer)];
    const auto chosen = [&](const at::Tensor& trained, const std::vector<float>& start,
                            const at::Tensor& stored) {
      if (better) return values_of(trained);
      return start.empty() ? values_of(stored) : start;
    };
    result.input_norm = chosen(block_.input_norm, request_.input_norm, dense.input_norm);
    result.post_attention_norm =
        chosen(block_.post_attention_norm, request_.post_attention_norm, dense.post_attention_norm);
    return result;
  }

 private:
  at::Tensor norm(const std::vector<float>& values) const {
    if (static_cast<std::int64_t>(values.size()) != model_.config().hidden) {
      fail(ErrorKind::usage, "a norm has another width than the model", "block reconstruction");
    }
    return copied(values, {model_.config().hidden});
  }

  at::Tensor sequence(const std::vector<float>& values) const {
    const std::int64_t hidden = model_.config().hidden;
    const std::int64_t tokens = static_cast<std::int64_t>(values.size()) / hidden;
    if (tokens < 1 || tokens * hidden != static_cast<std::int64_t>(values.size()) ||
        tokens > model_.config().max_positions) {
      fail(ErrorKind::usage, "a sequence is [tokens, hidden] and fits the model's positions",
           "block reconstruction");
    }
    require_finite(values, "block input or target");
    return copied(values, {1, tokens, hidden});
  }

  at::Tensor loss(std::size_t i) const {
    Block block = block_;
    for (std::size_t g = 0; g < grids_.size(); ++g) {
      block.linear[static_cast<std::size_t>(request_.grids[g].slot)] = grids_[g].weight();
    }
    return at::mse_loss(model_.run_block(block, request_.layer, inputs_[i]), targets_[i]);
  }

  double error() const {
    const c10::NoGradGuard no_gradient;
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const double elements = static_cast<double>(inputs_[i].numel());
      sum += loss(i).item<double>() * elements;
      count += elements;
    }
    return sum / count;
  }

  void train() {
    NamedParameters parameters;
    for (TrainableGrid& grid : grids_) {
      parameters.emplace_back("step", &grid.step);
      parameters.emplace_back("offset", &grid.offset);
    }
    if (request_.train_norms) {
      parameters.emplace_back("input_norm", &block_.input_norm);
      parameters.emplace_back("post_attention_norm", &block_.post_attention_norm);
    }
    AdamW adam({parameters},
               {request_.beta1, request_.beta2, request_.epsilon, request_.weight_decay, false});
    Progress progress(request_.progress, "block " + std::to_string(request_.layer) + " reconstruction",
                      request_.epochs * static_cast<std::int64_t>(inputs_.size()));
    std::vector<std::size_t> order(inputs_.size());
    for (int epoch = 0; epoch < request_.epochs; ++epoch) {
      std::iota(order.begin(), order.end(), std::size_t{0});
      RandomStream random(request_.seed, "block reconstruction", std::to_string(request_.layer),
                          static_cast<std::uint64_t>(epoch));
      for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
      }
      for (std::size_t i : order) {
        loss(i).backward();
        adam.step(request_.learning_rate, 0);
        progress.advance();
      }
    }
  }

  const BlockReconstructionRequest& request_;
  LanguageModel model_;
  Block block_;
  std::vector<TrainableGrid> grids_;
  std::vector<at::Tensor> inputs_, targets_;
};

}  // namespace

BlockReconstructionResult block_reconstruction(const BlockReconstructionRequest& request) {
  prepare_libtorch();
  return Reconstruction(request).run();
}

}  // namespace laconic::lab
