// Depth pruning: a unit is the attention or the MLP half of a block, kept (level 1) or dropped (level 0); a
// dropped half returns its residual input unchanged. With whole blocks a unit is both halves of a block.
#pragma once

#include <vector>

#include "engine/allocate/evolution.h"
#include "methods/method.h"
#include "runtime/transformer.h"

namespace laconic::evopress {

struct DepthSpace {
  std::int64_t layers = 0;
  bool whole_blocks = false;
  std::vector<int> dropped;  // of each kind: attention, MLP; or blocks alone

  std::size_t units() const { return static_cast<std::size_t>(whole_blocks ? layers : 2 * layers); }
  // Unit 2 l is the attention of block l, unit 2 l + 1 its MLP.
  std::vector<int> kinds() const;
  EvolutionSpace space() const;
  // floor(k (n - k) / 1.5) for k of n units dropped.
  int generations() const;
  std::vector<std::int64_t> dropped_attention(const Assignment& levels) const;
  std::vector<std::int64_t> dropped_mlp(const Assignment& levels) const;
  Transformer assemble(const Transformer& dense, const Assignment& levels) const;
};

CompressionResult compress_depth(const CompressionRequest& request);

}  // namespace laconic::evopress
