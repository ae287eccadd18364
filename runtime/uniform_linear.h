// y = W x from a uniform grid (engine/codec/uniform_payload.h) of 1 to 8 bits and any group size, without
// expanding W. Per group of columns, with s, c, z its scale, centre and offset:
//
//   y += s (q . x - c sum x) + z sum x
//
// The sums of x are taken once per token and serve every row (decoupleQ, Guo et al. 2024, arXiv 2404.12759).
// Codes are repacked at load (code_planes.h) into as many bytes as the payload's, up to padding of the rows
// to a multiple of 8; scales and offsets keep their stored type; integer zeros take a byte each. Many rows of
// x at once are multiplied by BLAS from tiles of W that are expanded just before.
#pragma once

#include <memory>

#include "runtime/linear_op.h"

namespace laconic {

// Throws Error(corrupt) on a payload that is not of the uniform codec. A tensor of other rank than 2 is one
// row.
std::shared_ptr<LinearOp> make_uniform_linear(const Payload& payload);

}  // namespace laconic
