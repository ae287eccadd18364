// Which examples a worker sees in a step: shuffled epochs, the same for the same seed, whatever came before.
#pragma once

#include <cstdint>
#include <vector>

namespace laconic {

class ExampleOrder {
 public:
  // All workers share `examples` examples: each epoch is one permutation, of which a step takes a run and
  // each worker its part. `per_step`: examples of one worker in a step.
  ExampleOrder(std::int64_t examples, int workers, int worker, std::int64_t per_step, std::uint64_t seed);
  // A worker has examples of its own and permutes them by itself.
  ExampleOrder(std::vector<std::int64_t> own, int worker, std::int64_t per_step, std::uint64_t seed);

  std::int64_t steps_per_epoch() const;
  // Of this worker, `per_step` of them; steps count from 1. Wraps where the data is smaller than a step.
  std::vector<std::int64_t> of_step(std::int64_t step);

 private:
  const std::vector<std::int64_t>& permutation(std::int64_t epoch);

  std::vector<std::int64_t> examples_;
  std::int64_t stride_, first_, per_step_;  // a step takes `stride` places, of which `per_step` from `first`
  std::uint64_t seed_;
  std::uint16_t stream_;  // whose permutation it is
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace laconic
