// Iterative absolute value decomposition (BitStack, Wang et al. 2025, arXiv 2410.23918): a weight W [m, n] as
// a sum of blocks of about one bit per weight, each block repairing what the blocks before it left.
//
//   R_0 = W,   S_i = sign(R_{i-1}) with sign(0) = +1,   |R_{i-1}| ~= A_i B_i of rank k (truncated SVD, sqrt
//   of the singular values on both sides),   R_i = R_{i-1} - S_i o (A_i B_i)
//
// With a channel scale s [n] the decomposition is that of W diag(s), and B_i diag(1/s) is stored, so that a
// reader needs no scale (column scaling commutes with the elementwise product).
//
// One block is the codec sign(rank=k); the sum of the first l blocks is the residual chain of l such stages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/base/random.h"
#include "engine/codec/payload.h"

namespace laconic {

struct SignBlock {
  std::int64_t rows = 0, columns = 0, rank = 0;
  // One bit per element, row-major, no row padding, least significant first, 1 is +1; empty without signs
  // (no_avd).
  std::vector<std::uint8_t> signs;
  std::vector<float> a, b;   // [rows, rank] and [rank, columns], as a reader gets them
  DType dtype = DType::f16;  // of the stored factors; f32 where f16 cannot hold them
};

// bytes of a block: ceil(m n / 8) + 2 k (m + n). The default rank keeps the factors near 1/8 bit per weight:
// max(1, round(m n / (128 (m + n)))), at most min(m, n).
std::int64_t default_sign_rank(std::int64_t rows, std::int64_t columns);
// The rank of a block without signs that costs as much: k + floor(m n / (16 (m + n))), at most min(m, n).
std::int64_t unsigned_rank(std::int64_t rows, std::int64_t columns, std::int64_t rank);

// Step 2 of the card: s_j = (mean over sequences of the l2 norm of input j along the sequence) + 1e-3.
std::vector<float> channel_scale(std::span<const float> channel_norm);

struct BlockOptions {
  std::int64_t rank = 0;                 // 0: default_sign_rank; clamped to min(m, n)
  const float* channel_scale = nullptr;  // [columns], positive and finite, or null
  DType dtype = DType::f16;              // f16, bf16 or f32
  bool signs = true;                     // false: plain truncated SVD at unsigned_rank (ablation no_avd)
};

// One block of R [rows, columns]. `exact`, if given, receives s o (A B) [rows, columns] with the unrounded
// factors.
SignBlock absolute_value_block(const float* residual, std::int64_t rows, std::int64_t columns,
                               const BlockOptions& options, RandomStream random,
                               std::vector<float>* exact = nullptr);

// sum += S o (A B), the same bits on every machine.
void add_block(const SignBlock& block, float* sum);

struct DecompositionOptions : BlockOptions {
  int blocks = 16;
  // Subtract the product of the unrounded factors, as the reference code does. By default the rounded product
  // is subtracted, so that later blocks repair rounding.
  bool official_residual = false;
  ProgressListener progress;
};

struct Decomposition {
  std::vector<SignBlock> blocks;
  std::vector<double> residual_norms;  // ||R_i||_F after each block, of W (not of W diag(s))
};

// Refuses NaN and infinity, and scales that are not positive, naming the tensor. `name` also keys the random
// stream of the truncated SVD. Stops early when the residual is zero.
Decomposition absolute_value_decomposition(const float* weights, std::int64_t rows, std::int64_t columns,
                                           const DecompositionOptions& options, std::uint64_t seed,
                                           std::string_view name);

// The payload of one block. Fields: signs (u8), left, right (f16 or f32). Attributes: rank.
Payload sign_payload(const SignBlock& block, std::string codec, DType dtype, const Shape& shape);
SignBlock parse_sign(const Payload& payload);  // Error(corrupt) on anything else

}  // namespace laconic
