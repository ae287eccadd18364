// Forward and backward pass of the decoder over one slot of a plan, written out layer by layer: what is kept
// between them is a list of named tensors that a store may move away (offload_store.h), and attention is the
// ring of the slot's group. Norms, gates and products are recomputed from it. The loss is a softmax cross
// entropy in one pass forward and one backward over blocks of rows, so that the logits of a slot never stand
// in memory at once.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/attention/ring_attention.h"
#include "lab/language_model.h"
#include "lab/methods/bytescale/offload_store.h"

namespace laconic::lab {

// Whole sequences of a slot, and who works on them.
struct SlotWork {
  std::vector<std::uint32_t> lengths;
  // Of each sequence, length + 1 tokens: every token but the last is read, every one but the first predicted.
  std::vector<std::span<const std::int32_t>> tokens;
  RingGroup group;
  double ratio = 0;  // r, of all layers but the first and the last
};

class DecoderPass {
 public:
  // Both views outlive it. `gradients`: of the same shapes as the model's parameters, in their order; a pass
  // adds to them. The decoder is of the Llama kind: no biases, no norms of queries and keys, tied tables.
  DecoderPass(LanguageModel& model, std::vector<at::Tensor> gradients);
  // Adds the gradient of the sum of this rank's losses, and returns that sum.
  double run(const SlotWork& work, OffloadStore& store);
  const bytescale::RankSeconds& seconds() const { return seconds_; }

 private:
  struct LayerGradients {
    at::Tensor linear[linear_slots], input_norm, post_attention_norm;
  };
  at::Tensor forward_layer(std::int64_t layer, const at::Tensor& x, const SlotWork& work, double ratio,
                           OffloadStore& store);
  at::Tensor backward_layer(std::int64_t layer, const at::Tensor& dy, const SlotWork& work,
                            OffloadStore& store);
  double head(const at::Tensor& hidden, const at::Tensor& targets, at::Tensor& dhidden);

  LanguageModel& model_;
  RingShape shape_;
  at::Tensor embedding_, final_norm_;
  at::Tensor embedding_gradient_, final_norm_gradient_;
  std::vector<LayerGradients> gradients_;
  at::Tensor cosine_, sine_;  // [max positions, 1, head_dim], and of the rows at hand:
  at::Tensor row_cosine_, row_sine_;
  bytescale::RankSeconds seconds_;
};

}  // namespace laconic::lab
