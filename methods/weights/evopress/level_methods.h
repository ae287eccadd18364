// The databases of card 23, as layer-wise methods with levels.
//
//   bits      GPTQ at every width from the same H: asymmetric grid with an integer zero, min and max of the
//   group, no
//             clip search, damping 1 %, natural order; later layers are calibrated on the earlier ones at the
//             propagation width. decoupleq and rtn stand in for GPTQ on request.
//   sparsity  SparseGPT-type pruning, the threshold per whole matrix; level l on either side of the target
//   removes
//             l * weights_diff more (or fewer) weights, so that levels cost the same in layers of any size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "methods/weights/leveled_method.h"

namespace laconic::evopress {

struct BitLevels {
  std::string base = "gptq";  // gptq, decoupleq, rtn
  std::vector<int> bits = {2, 3, 4, 5, 6};
  std::int64_t group = 128;
  int propagation = 3;  // width, the nearest level is taken; 0: dense statistics
};
LeveledMethod bits_method(const BitLevels& levels);

struct SparsityLevels {
  double target = 0.5;
  std::int64_t weights_diff = 0;
  int each_side = 8;

  int count() const { return 2 * each_side + 1; }
  int uniform() const { return each_side; }  // the level of the target itself
  // Zeros of a layer of `weights` at a level; 0 is the sparsest. Clipped to the layer.
  std::int64_t zeros(std::int64_t weights, int level) const;
  // False for a level that clipping made equal to its neighbour on the side of the target.
  bool exists(std::int64_t weights, int level) const;
};
LeveledMethod sparsity_method(const SparsityLevels& levels);

}  // namespace laconic::evopress
