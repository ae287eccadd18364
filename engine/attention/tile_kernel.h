// One step of tiled attention: a tile of keys and values meets a block of query rows that stand in the lanes
// of vectors. Scores, statistics and outputs are kept transposed, so that maxima and sums over keys are plain
// vector operations and neither keys nor values are packed: their elements are broadcast from where they lie.
//   S^T = K Q^T;  m' = max(m, max_j S_j);  P = 2^(S - m');  c = 2^(m - m')
//   l = c l + sum_j P_j;  O^T = O^T c + V^T P^T                      (online softmax, FlashAttention-2 order)
// A row's result depends on the tiles of keys alone, not on the other rows of its block.
#pragma once

#include <cstdint>

namespace laconic {

constexpr std::int64_t attention_lanes = 16;  // rows of a block are padded to a multiple of this

// Requires: rows a multiple of attention_lanes; transposed arrays and scratch aligned to 64 bytes; no
// overlap.
struct AttentionTile {
  std::int64_t rows = 0, head_dim = 0;
  const float* queries = nullptr;  // [head_dim, rows], multiplied by scale log2(e)
  const float* keys = nullptr;     // [count, head_dim], row stride key_stride
  const float* values = nullptr;   // likewise
  std::int64_t key_stride = 0, value_stride = 0, count = 0;
  // Row r sees the keys [begin[r], end[r]) of the tile; both null: every row sees every key.
  const float* begin = nullptr;
  const float* end = nullptr;
  float* top = nullptr;      // [rows] m, in units of log2; -infinity before the first tile
  float* sum = nullptr;      // [rows] l, 0 before the first tile
  float* out = nullptr;      // [head_dim, rows] sum_j P_j V_j, 0 before the first tile
  float* scratch = nullptr;  // [count + 2, rows]
};

void attend_tile(const AttentionTile& tile);
// The same bits as vectors with fused multiply-adds.
void attend_tile_scalar(const AttentionTile& tile);

// 2^x for x <= 0 within 2 ulp; 0 below -126, where f32 has no normal numbers; NaN stays NaN.
void exp2_of_nonpositive(const float* x, std::int64_t size, float* y);
float exp2_of_nonpositive_scalar(float x);

// Added to x, it rounds x to an integer n and leaves n + 127, the exponent of 2^n, in the low bits.
constexpr float exp2_magic = 0x1.8p23f + 127;
// 2^r for |r| <= 1/2, highest power first: the least largest relative error (2e-9) with value 1 at 0.
constexpr float exp2_polynomial[7] = {
    0x1.41fbap-13f, 0x1.5f3e5p-10f, 0x1.3b2d4ep-7f, 0x1.c6aee8p-5f, 0x1.ebfbdcp-3f, 0x1.62e430p-1f, 1.0f};

}  // namespace laconic
