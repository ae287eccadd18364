// The inner loops of tiled_gemm.h.
#pragma once

#include <cstdint>

namespace laconic {

// Columns of a register block on this processor; divides 64.
std::int64_t gemm_panel_width();

// Adds one block of the depth to a tile, or begins the tile with it.
//   out[i][j] (+)= sum_t a[i a_stride + t] panel[j / W][t][j % W],  t < depth, W the panel width
// Requires: columns a multiple of W; panels and out aligned to 64 bytes; out_stride a multiple of W.
struct GemmBlock {
  const float* a = nullptr;
  std::int64_t a_stride = 0;
  const float* panels = nullptr;  // of this block of the depth, `panel_stride` numbers apart
  std::int64_t panel_stride = 0;
  std::int64_t rows = 0, columns = 0, depth = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  bool first = false;
};
void multiply_block(const GemmBlock& block);
// The same bits as vectors with fused multiply-adds; `width` is the panel width that b was packed with.
void multiply_block_scalar(const GemmBlock& block, std::int64_t width);

}  // namespace laconic
