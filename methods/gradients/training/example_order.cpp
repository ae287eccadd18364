#include "methods/gradients/training/example_order.h"

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {

ExampleOrder::ExampleOrder(std::int64_t examples, int workers, int worker, std::int64_t per_step,
                           std::uint64_t seed)
    : examples_(static_cast<std::size_t>(std::max<std::int64_t>(examples, 0))),
      stride_(workers * per_step),
      first_(worker * per_step),
      per_step_(per_step),
      seed_(seed),
      stream_(0) {
  if (examples < 1) fail(ErrorKind::usage, "there are no training examples", "data");
  require(per_step >= 1 && worker >= 0 && worker < workers, "a worker of the run takes examples");
  std::iota(examples_.begin(), examples_.end(), std::int64_t{0});
}

ExampleOrder::ExampleOrder(std::vector<std::int64_t> own, int worker, std::int64_t per_step,
                           std::uint64_t seed)
    : examples_(std::move(own)),
      stride_(per_step),
      first_(0),
      per_step_(per_step),
      seed_(seed),
      stream_(static_cast<std::uint16_t>(worker + 1)) {
  if (examples_.empty()) {
    fail(ErrorKind::usage, "worker " + std::to_string(worker) + " has no training examples", "data",
         "use fewer workers or another partition");
  }
  require(per_step >= 1, "a step takes examples");
}

std::int64_t ExampleOrder::steps_per_epoch() const {
  return std::max<std::int64_t>(static_cast<std::int64_t>(examples_.size()) / stride_, 1);
}

const std::vector<std::int64_t>& ExampleOrder::permutation(std::int64_t epoch) {
  if (epoch != epoch_) {
    order_ = examples_;
    RandomStream random(seed_, "example order", "epoch", static_cast<std::uint64_t>(epoch), stream_);
    for (std::size_t left = order_.size(); left > 1; --left)
      std::swap(order_[left - 1], order_[random.below(static_cast<std::uint32_t>(left))]);
    epoch_ = epoch;
  }
  return order_;
}

std::vector<std::int64_t> ExampleOrder::of_step(std::int64_t step) {
  const std::int64_t per_epoch = steps_per_epoch();
  const std::vector<std::int64_t>& order = permutation((step - 1) / per_epoch);
  const std::int64_t begin = (step - 1) % per_epoch * stride_ + first_;
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(per_step_));
  for (std::int64_t i = 0; i < per_step_; ++i) {
    chosen[static_cast<std::size_t>(i)] =
        order[static_cast<std::size_t>((begin + i) % static_cast<std::int64_t>(order.size()))];
  }
  return chosen;
}

}  // namespace laconic
