#include "lab/models/tensor_replica.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "lab/guarded.h"

namespace laconic::lab {

double TensorReplica::gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                               std::span<float> gradient, const std::function<void(std::size_t)>& on_ready) {
  return guarded([&] {
    require(!examples.empty(), "a batch with examples");
    at::set_num_threads(1);  // OpenMP keeps this number per thread
    const at::AutoGradMode with_gradient(true);
    parameters_.set(point);
    const at::Tensor loss = mean_loss(examples);
    parameters_.backward(loss, gradient, on_ready);
    return loss.item<double>();
  });
}

Evaluation TensorReplica::evaluate(std::span<const float> point, std::int64_t limit) {
  return guarded([&] {
    at::set_num_threads(1);
    const c10::NoGradGuard no_gradient;
    parameters_.set(point);
    const std::int64_t count = limit > 0 ? std::min(limit, held_out_) : held_out_;
    HeldOutSums all;
    for (std::int64_t first = 0; first < count; first += tile_) {
      std::vector<std::int64_t> examples(static_cast<std::size_t>(std::min(count - first, tile_)));
      std::iota(examples.begin(), examples.end(), first);
      const HeldOutSums part = held_out_sums(examples);
      all.loss += part.loss;
      all.count += part.count;
      if (part.right) all.right = all.right.value_or(0) + *part.right;
      if (part.right_without_attack)
        all.right_without_attack = all.right_without_attack.value_or(0) + *part.right_without_attack;
    }
    Evaluation result;
    result.count = all.count;
    result.loss = all.loss / static_cast<double>(all.count);
    const auto share = [&](std::int64_t right) {
      return static_cast<double>(right) / static_cast<double>(all.count);
    };
    if (all.right) result.accuracy = share(*all.right);
    if (all.right_without_attack) result.clean_accuracy = share(*all.right_without_attack);
    return result;
  });
}

}  // namespace laconic::lab
