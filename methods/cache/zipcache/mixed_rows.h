// Keys and values of salient and other tokens on uniform grids of more and fewer bits, with few parameters:
// keys on one grid for each class and channel of a block, values with channel scales and one grid for each
// token (ZipCache, steps 3 and 4 of its card).
#pragma once

#include <memory>
#include <string>

#include "runtime/cache/row_store.h"

namespace laconic {

struct MixedRowForm {
  int high = 4, low = 2;  // bits of salient tokens and of the others: 2, 3, 4, 8, or 16 for rows kept as f16
  enum class KeyAxis { channel, cst };  // cst: keys are treated like values
  KeyAxis keys = KeyAxis::channel;
  bool channel_scales = true;  // of values: c_j = sqrt(max |v_j|); false: plain grids of tokens
  // What a token's grid runs over: the channels of a head, or those of the n-th token of the class in every
  // head. `automatic`: a head where it has 64 channels or more, so that 32 bits of grid stay few.
  enum class GridSpan { automatic, head, all_heads };
  GridSpan span = GridSpan::automatic;
  bool f32_parameters = false;  // of grids and channel scales
};

// For rows in two classes, salient first (RowContext::class_rows).
std::shared_ptr<const RowCodec> mixed_row_codec(std::string canonical, const MixedRowForm& form);

}  // namespace laconic
