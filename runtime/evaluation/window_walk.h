// Perplexity of many variants of a model that differ from it in one block: hidden states before that block
// are computed once, and each variant runs from there. Gives what evaluate() gives for the same variant.
#pragma once

#include <cstdint>

#include "runtime/calibration/hidden_states.h"
#include "runtime/evaluation/perplexity.h"

namespace laconic {

class WindowWalk {
 public:
  // Stands before block 0.
  WindowWalk(const Transformer& model, const EvaluationWindows& windows);

  std::int64_t layer() const { return layer_; }  // the block the hidden states stand before
  // Moves the hidden states through block layer() of `model`.
  void advance(const Transformer& model);
  // Mean nats per scored token of a model whose blocks before layer() are those that were walked. NaN when
  // its logits are not numbers. Windows run in parallel.
  double nats_per_token(const Transformer& variant) const;

 private:
  const EvaluationWindows& windows_;
  HiddenStates hidden_;  // [tokens - 1, hidden] of each window: the last token predicts nothing
  std::int64_t layer_ = 0;
};

}  // namespace laconic
