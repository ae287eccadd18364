#include "methods/gradients/tasks/task_oracle.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {

TaskOracle::TaskOracle(const TrainingTask& task, Partition examples, std::int64_t batch, std::uint64_t seed)
    : dimension_(layout_size(task.parameters())), examples_(std::move(examples)), batch_(batch), seed_(seed) {
  if (examples_.empty() || examples_.size() > 65536 || batch < 1)
    fail(ErrorKind::usage, "1 to 65536 workers share the examples, with batches of 1 or more", task.text());
  for (const auto& own : examples_) {
    if (own.empty()) fail(ErrorKind::usage, "a worker has no examples", task.text(), "take fewer workers");
    for (const std::int64_t example : own)
      require(example >= 0 && example < task.examples(), "examples that the task has");
    replicas_.push_back(task.replica());
  }
}

void TaskOracle::evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                          std::span<double> vector) const {
  const std::vector<std::int64_t>& own = examples_[static_cast<std::size_t>(worker)];
  TrainingReplica& replica = *replicas_[static_cast<std::size_t>(worker)];
  const std::vector<float> narrow(point.begin(), point.end());
  std::vector<float> gradient(dimension_);
  if (sample != all_samples) {
    RandomStream random(seed_, "minibatch", "task oracle", sample, static_cast<std::uint16_t>(worker));
    std::vector<std::int64_t> drawn(static_cast<std::size_t>(batch_));
    for (std::int64_t& example : drawn) example = own[random.below(static_cast<std::uint32_t>(own.size()))];
    replica.gradient(narrow, drawn, gradient);
    std::copy(gradient.begin(), gradient.end(), vector.begin());
    return;
  }
  // In parts that fit into a cache, each weighted by its examples.
  constexpr std::size_t tile = 64;
  std::fill(vector.begin(), vector.end(), 0.0);
  for (std::size_t first = 0; first < own.size(); first += tile) {
    const std::size_t count = std::min(tile, own.size() - first);
    replica.gradient(narrow, std::span(own).subspan(first, count), gradient);
    const double share = static_cast<double>(count) / static_cast<double>(own.size());
    for (std::size_t j = 0; j < vector.size(); ++j) vector[j] += share * static_cast<double>(gradient[j]);
  }
}

}  // namespace laconic
