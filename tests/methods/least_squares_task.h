// 1/2 (a_i . x - b_i)^2 with normal rows a_i and b_i = a_i . truth + 0.1 noise: the small convex task on
// which tests train.
#pragma once

#include <limits>
#include <optional>

#include "engine/base/random.h"
#include "tests/methods/example_task.h"

namespace laconic {

struct LeastSquaresOptions {
  std::vector<TensorSlice> tensors;
  std::int64_t examples = 64;
  float start = 0.5f;
  std::optional<std::size_t> silent;       // this number never has a gradient
  std::optional<std::int64_t> broken;      // this example's gradient is not finite, and
  std::size_t broken_at = 0;               // this number of it
  std::vector<std::size_t> ready_order{};  // empty: from the last tensor
};

class LeastSquaresTask : public ExampleTask {
 public:
  explicit LeastSquaresTask(LeastSquaresOptions options)
      : ExampleTask("least squares", options.tensors, options.examples, options.start),
        options_(std::move(options)) {
    if (!options_.ready_order.empty()) tell_in_order(options_.ready_order);
    const std::size_t width = layout_size(options_.tensors);
    RandomStream random(2, "regression", "rows");
    std::vector<float> truth;
    for (std::size_t j = 0; j < width; ++j) truth.push_back(random.gaussian());
    for (std::int64_t i = 0; i < options_.examples; ++i) {
      float target = 0.1f * random.gaussian();
      for (std::size_t j = 0; j < width; ++j) {
        rows_.push_back(j == options_.silent ? 0 : random.gaussian());
        target += rows_.back() * truth[j];
      }
      targets_.push_back(target);
    }
  }

  double add_example(std::span<const float> point, std::int64_t example, float batch,
                     std::span<float> gradient) const override {
    const float* row = rows_.data() + static_cast<std::size_t>(example) * point.size();
    float residual = -targets_[static_cast<std::size_t>(example)];
    for (std::size_t j = 0; j < point.size(); ++j) residual += row[j] * point[j];
    for (std::size_t j = 0; j < point.size(); ++j) gradient[j] += residual * row[j] / batch;
    if (example == options_.broken) gradient[options_.broken_at] = std::numeric_limits<float>::quiet_NaN();
    return 0.5 * residual * residual / batch;
  }

 private:
  LeastSquaresOptions options_;
  std::vector<float> rows_, targets_;
};

}  // namespace laconic
