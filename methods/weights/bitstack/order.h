// Step C of card 22: one global order of the blocks of all layers, of which every prefix is a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/artifact/stack_writer.h"

namespace laconic::bitstack {

// A linear layer and the number of its blocks.
struct Layer {
  std::string name;
  std::int64_t blocks = 0;
  std::vector<std::uint64_t> block_bytes;  // of each block's entry
};

// scores[b - 1][l]: perplexity, or another harm, when all layers have b blocks and layer l alone b + 1.
using Scores = std::vector<std::vector<double>>;

// Step C.4: NaN at (b, l) becomes p[b+1][l] + the largest finite p of level b (0 where there is none), from
// the last level to the first. Error(input) for NaN at the last level, naming the layer.
void replace_nan(Scores& scores, const std::vector<Layer>& layers);

// Steps C.2 and C.3: level 1 of every layer in model order, then level by level the layers by ascending score
// (ties: model order). Levels without scores follow in model order.
std::vector<StackPlace> level_order(const std::vector<Layer>& layers, const Scores& scores);

// Beyond the paper: blocks by measured fall of the loss per byte, the levels of one layer in order but layers
// free to run ahead of each other. gains[b - 1][l]: fall of the loss in nats when layer l alone goes from b
// to b + 1 blocks. Of each layer the run of next blocks with the best average gain per byte competes.
std::vector<StackPlace> gain_order(const std::vector<Layer>& layers, const Scores& gains);

}  // namespace laconic::bitstack
