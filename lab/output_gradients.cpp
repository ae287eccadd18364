#include "lab/output_gradients.h"

#include <torch/autograd.h>

#include "engine/base/error.h"
#include "lab/language_model.h"
#include "lab/training/windows.h"
#include "lab/training/workers.h"

namespace laconic::lab {
namespace {

struct CaughtOutput {
  std::int64_t layer;
  LinearSlot slot;
  at::Tensor y;
};

void add_squared_rows(const at::Tensor& gradient, std::vector<double>& sums) {
  const at::Tensor squared = gradient.to(at::kDouble).square().sum(at::IntArrayRef{0, 1});
  const double* values = squared.data_ptr<double>();
  for (std::size_t row = 0; row < sums.size(); ++row) sums[row] += values[row];
}

}  // namespace

OutputGradients output_gradients(const std::filesystem::path& model_directory,
                                 const std::vector<std::vector<std::int32_t>>& windows,
                                 const ProgressListener& listener) {
  prepare_libtorch();
  LanguageModel model = LanguageModel::load(model_directory);
  const ModelConfig& config = model.config();
  OutputGradients result;
  result.squared.resize(static_cast<std::size_t>(config.layers));
  for (auto& layer : result.squared) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      layer.emplace_back(static_cast<std::size_t>(linear_shape(config, static_cast<LinearSlot>(slot)).out),
                         0.0);
    }
  }
  Progress progress(listener, "output gradients", static_cast<std::int64_t>(windows.size()));
  for (const std::vector<std::int32_t>& window : windows) {
    if (window.size() < 2)
      fail(ErrorKind::usage, "a window without a target", "output gradients", "give two tokens or more");
    token_tensor(config, window);  // refuses ids outside the vocabulary and windows that are too long
    const std::array<TrainingExample, 1> one = {{{window, {}}}};
    const Batch batch = make_batch(one);
    std::vector<CaughtOutput> caught;
    // Only the outputs are differentiated: the first one becomes the leaf that starts the graph.
    const OutputHook hook = [&](std::int64_t layer, LinearSlot slot, const at::Tensor& y) {
      const at::Tensor output = y.requires_grad() ? y : y.detach().set_requires_grad(true);
      caught.push_back({layer, slot, output});
      return output;
    };
    const at::Tensor logits = model.logits(batch.inputs, &hook);
    const at::Tensor loss = at::cross_entropy_loss(logits.view({-1, logits.size(-1)}),
                                                   batch.targets.view({-1}), {}, at::Reduction::Sum);
    torch::autograd::variable_list outputs;
    for (const CaughtOutput& output : caught) outputs.push_back(output.y);
    const torch::autograd::variable_list gradients = torch::autograd::grad({loss}, outputs);
    for (std::size_t i = 0; i < caught.size(); ++i) {
      add_squared_rows(gradients[i], result.squared[static_cast<std::size_t>(caught[i].layer)]
                                                   [static_cast<std::size_t>(caught[i].slot)]);
    }
    result.tokens += batch.scored;
    progress.advance();
  }
  if (result.tokens == 0) fail(ErrorKind::usage, "no windows", "output gradients", "give calibration text");
  for (auto& layer : result.squared) {
    for (auto& slot : layer) {
      for (double& value : slot) value /= static_cast<double>(result.tokens);
    }
  }
  return result;
}

}  // namespace laconic::lab
