// What distributed algorithms ask of a problem: a vector (a gradient, or the operator of a saddle-point
// problem) at a point, as one worker sees it.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

// The sample that is all of a worker's data.
constexpr std::uint64_t all_samples = UINT64_MAX;

class Oracle {
 public:
  virtual ~Oracle() = default;
  virtual std::size_t dimension() const = 0;
  virtual int workers() const = 0;
  // Writes the vector of `worker` at `point`. `sample` names the randomness (a minibatch, noise): the same
  // number gives the same sample. Oracles of data know all_samples. May be called for different workers at
  // the same time.
  virtual void evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                        std::span<double> vector) const = 0;
};

}  // namespace laconic
