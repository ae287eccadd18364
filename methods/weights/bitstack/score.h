// Steps C.1 and C.2 of card 22: what the held-out sequences cost when every layer has b blocks and one layer
// alone has b + 1. Every figure is kept in the writer's store, so that an interrupted run goes on.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/weights/bitstack/order.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/transformer.h"

namespace laconic::bitstack {

// Nats per token throughout; perplexity is their exponential.
class Scorer {
 public:
  // `frame` gives everything but the linear layers; layers are in the order of (decoder block, LinearSlot).
  Scorer(const Transformer& frame, StackWriter& store, const std::vector<Layer>& layers,
         const EvaluationWindows& held_out, ProgressListener progress);

  double uniform(std::int64_t level);                      // every layer with `level` blocks
  std::vector<double> raised(std::int64_t level);          // one layer alone with level + 1, by layer
  double prefix(std::span<const StackPlace> order) const;  // the model of a prefix of an order

 private:
  std::int64_t blocks_at(std::size_t layer, std::int64_t level) const;
  std::shared_ptr<const LinearOp> linear(std::size_t layer, std::int64_t blocks) const;
  Transformer at_level(std::int64_t level) const;

  const Transformer& frame_;
  StackWriter& store_;
  const std::vector<Layer>& layers_;
  const EvaluationWindows& held_out_;
  ProgressListener progress_;
  bool expanded_ = false;  // layers as dense f32, where memory allows
};

}  // namespace laconic::bitstack
