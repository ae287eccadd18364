// What all copies of a Transformer share. Private to the room.
#pragma once

#include <memory>
#include <vector>

#include "runtime/rope.h"
#include "runtime/transformer.h"

namespace laconic {

struct Transformer::Shared {
  explicit Shared(ModelConfig from) : config(std::move(from)), rope(config) {}
  ModelConfig config;
  RopeTable rope;
  std::shared_ptr<const LinearOp> embeddings;  // [vocabulary, hidden], read row by row
  std::vector<float> final_norm;
  std::shared_ptr<const LinearOp> head;  // the embeddings when tied
};

}  // namespace laconic
