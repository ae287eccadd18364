// Block-wise minimisation of decoupleQ (card 50 part D): codes stay, the lab trains steps, offsets and norm
// weights of one block towards the dense block's outputs.
#pragma once

#include "methods/method.h"
#include "methods/weights/leveled_method.h"

namespace laconic {

// Payloads of the block's linear layers with trained steps and offsets, then of its two norms (f32). The
// payloads given are uniform ones of kind affine_free. Throws Error(unsupported) without the lab.
std::vector<std::pair<std::string, Payload>> train_block(const CompressionRequest& request,
                                                         const BlockTask& task, int epochs,
                                                         double learning_rate);

}  // namespace laconic
