// One step of an exchange over all its buckets, as tests take it. Ranks run by run_ranks().
#pragma once

#include <vector>

#include "engine/exchange/gradient_exchange.h"

namespace laconic {

// `agreed` gets the size of `own`, and may be the same vector. Whether the step was accepted.
inline bool exchange_step(GradientExchange& exchange, Communicator& communicator, std::uint64_t step,
                          const std::vector<float>& own, std::vector<float>& agreed) {
  agreed.resize(own.size());
  exchange.begin_step(communicator, step);
  bool accepted = true;
  for (std::size_t bucket = 0; bucket < exchange.buckets().size(); ++bucket) {
    if (!exchange.exchange(communicator, step, bucket, own, agreed)) accepted = false;
  }
  exchange.end_step(accepted);
  return accepted;
}

}  // namespace laconic
