#include "runtime/evaluation/window_walk.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/threads.h"
#include "runtime/evaluation/window_logits.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

std::vector<std::size_t> state_sizes(const Transformer& model, const EvaluationWindows& windows) {
  std::vector<std::size_t> sizes;
  for (const auto& window : windows.windows) {
    require(window.size() >= 2, "a window has a token to score");
    sizes.push_back((window.size() - 1) * static_cast<std::size_t>(model.config().hidden));
  }
  return sizes;
}

}  // namespace

WindowWalk::WindowWalk(const Transformer& model, const EvaluationWindows& windows)
    : windows_(windows), hidden_(state_sizes(model, windows)) {
  parallel_for(static_cast<std::int64_t>(hidden_.size()), [&](std::int64_t i) {
    const auto& window = windows_.windows[static_cast<std::size_t>(i)];
    const std::vector<float> embedded = model.embed(std::span(window).first(window.size() - 1));
    std::copy(embedded.begin(), embedded.end(), hidden_[static_cast<std::size_t>(i)].begin());
  });
}

void WindowWalk::advance(const Transformer& model) {
  require(layer_ < model.config().layers, "a walk ends after the last block");
  parallel_for(static_cast<std::int64_t>(hidden_.size()), [&](std::int64_t i) {
    const std::span<float> states = hidden_[static_cast<std::size_t>(i)];
    model.run_block(layer_, states.data(), static_cast<std::int64_t>(states.size()) / model.config().hidden,
                    nullptr);
  });
  ++layer_;
}

double WindowWalk::nats_per_token(const Transformer& variant) const {
  const std::int64_t width = variant.config().hidden, vocabulary = variant.config().vocabulary;
  std::vector<double> sums(hidden_.size());
  parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t i) {
    throw_if_interrupted();
    const auto index = static_cast<std::size_t>(i);
    const std::span<const float> before = hidden_[index];
    std::vector<float> states(before.begin(), before.end());
    const auto rows = static_cast<std::int64_t>(states.size()) / width;
    for (std::int64_t layer = layer_; layer < variant.config().layers; ++layer) {
      variant.run_block(layer, states.data(), rows, nullptr);
    }
    visit_logits(variant, states.data(), rows, [&](std::int64_t row, const float* logits) {
      const auto target = windows_.windows[index][static_cast<std::size_t>(row) + 1];
      sums[index] += log_sum_exp(logits, vocabulary) - static_cast<double>(logits[target]);
    });
  });
  double nats = 0;
  for (const double sum : sums) nats += sum;
  return nats / static_cast<double>(windows_.scored_tokens);
}

}  // namespace laconic
