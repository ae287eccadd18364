// A linear layer that is a stack of sign blocks (engine/codec/absolute_value_decomposition.h),
// W = sum_i S_i o (A_i B_i), multiplied straight from the bits:
//
//   y += sum over i and r of A_i[:, r] o (S_i (B_i[r, :] o x))
//
// Blocks are immutable and shared: a stack of another size is another list over the same blocks, made in no
// time, and a block leaves memory when the last list that names it goes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/codec/absolute_value_decomposition.h"
#include "runtime/code_planes.h"
#include "runtime/linear_op.h"
#include "runtime/tiled_parameters.h"

namespace laconic {

// One block as the kernels read it: a bit per weight (rows padded to a multiple of 8, columns to one of 32)
// and the factors in their stored dtype.
class PackedSignBlock {
 public:
  explicit PackedSignBlock(const SignBlock& block);
  // From the payload of a sign stage. Throws Error(corrupt).
  explicit PackedSignBlock(const Payload& payload) : PackedSignBlock(parse_sign(payload)) {}

  std::int64_t rows() const { return planes_.rows(); }
  std::int64_t columns() const { return columns_; }
  std::int64_t rank() const { return left_.groups(); }
  bool has_signs() const { return planes_.columns() > 0; }
  std::uint64_t resident_bytes() const { return planes_.bytes() + left_.bytes() + right_.size(); }

  const CodePlanes& planes() const { return planes_; }  // no columns without signs: S is all +1
  const TiledParameters& left() const { return left_; }
  std::vector<float> right() const;  // B [rank, columns]

 private:
  std::int64_t columns_ = 0;
  CodePlanes planes_;
  TiledParameters left_;
  DType dtype_ = DType::f16;
  std::vector<std::byte> right_;
};

// The sum of the blocks, added in this order; of no blocks: zero. Requires blocks of this shape.
std::shared_ptr<LinearOp> make_sign_stack(std::int64_t rows, std::int64_t columns,
                                          std::vector<std::shared_ptr<const PackedSignBlock>> blocks);

}  // namespace laconic
