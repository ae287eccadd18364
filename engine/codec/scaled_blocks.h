// Quantisers of gradients see a tensor as one row, cut into blocks of neighbours that share a scale, and
// store codes of a fixed width and one f32 scale per block (convention C2: f32 for what travels). Fields:
// codes (u8, one run), scale (f32 [blocks]). Attributes: bits, block.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/codec/payload.h"

namespace laconic {

struct ScaledBlocks {
  int bits = 1;
  std::int64_t block = 0;  // numbers in a block, 0: all; the last one may be shorter
  std::vector<std::uint8_t> codes;
  std::vector<float> scale;
};

// Calls visit(index, begin, end) for every block of a row of `length` numbers, in parallel.
void for_each_block(
    std::int64_t length, std::int64_t block,
    const std::function<void(std::int64_t index, std::int64_t begin, std::int64_t end)>& visit);
std::int64_t block_count(std::int64_t length, std::int64_t block);
// Numbers of the largest block.
std::int64_t block_length(std::int64_t length, std::int64_t block);

Payload scaled_blocks_payload(const ScaledBlocks& blocks, std::string codec, DType dtype, const Shape& shape);
// The same from codes that are packed already (bit_packing.h); those of `blocks` are not read.
Payload scaled_blocks_payload(const ScaledBlocks& blocks, Tensor packed, std::string codec, DType dtype,
                              const Shape& shape);
// Throws Error(corrupt) on anything scaled_blocks_payload does not write, scales that are not finite and at
// least zero, and codes over `largest_code` (negative: counted down from 2^bits, -1 being all codes).
ScaledBlocks parse_scaled_blocks(const Payload& payload, int bits_low, int bits_high, int largest_code);

// scale * level[code] for every number; each code has a level.
Tensor decode_scaled_blocks(const ScaledBlocks& blocks, const Shape& shape, std::span<const float> level);

// The parameter that these codecs share.
struct ParameterSpec;
ParameterSpec block_parameter(const char* default_value);

}  // namespace laconic
