// Block-wise minimisation of decoupleQ (card 50 part D): the integer codes of a block stay, and its steps,
// offsets and norm weights are trained so that the block's outputs, on inputs from the compressed prefix,
// approach those of the dense block: mean squared error, Adam, one sequence per step.
//
// w_hat = step * code + offset is formed anew in every step, so that gradients reach (step, offset):
//   d/d step = sum over the group of dw * code,  d/d offset = sum over the group of dw.
#pragma once

#include "methods/lab_plugin.h"

namespace laconic::lab {

BlockReconstructionResult block_reconstruction(const BlockReconstructionRequest& request);

}  // namespace laconic::lab
